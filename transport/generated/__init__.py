# Generated from transport/control.fbs by python -m remora.transport.genfbs; do not edit.
