"""Moving bytes: channels of call records, bulk and urgent messages, and the control messages around them."""
