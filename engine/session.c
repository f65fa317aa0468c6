/* session.c: see session.h. */
#include "session.h"

#include <stdarg.h>
#include <stdio.h>

void session_broken(Session *session, const char *format, ...) {
  va_list args;
  if (session->broken[0]) return;
  va_start(args, format);
  vsnprintf(session->broken, sizeof session->broken, format, args);
  va_end(args);
}
