/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. Every fallible function returns an int: 0, or a negative code. Codes share one space:
 * -1 … -4095 are errno values; the house's own begin at -10000 and come from the X-macro below,
 * which holds each code's name and text.
 *
 * Where a person will read the outcome (configuration, commands, start-up) a function also takes a
 * struct error and fills in one sentence: what, where, what to do. A code says what a program
 * should do about it; the sentence says what the person should. Passing NULL is always allowed.
 */
#ifndef FAIRLEAD_BASE_ERROR_H
#define FAIRLEAD_BASE_ERROR_H

#include <errno.h>
#include <stdarg.h>

/* X(name, code, text) */
#define ERROR_CODES(X)                                                                             \
	X(FL_EINVALID, 10000, "the input is not valid")                                            \
	X(FL_ECONFLICT, 10001, "somebody else changed it first")                                   \
	X(FL_ENOTFOUND, 10002, "there is no such thing")                                           \
	X(FL_EEXHAUSTED, 10003, "a pool or table is full")                                         \
	X(FL_ELIMIT, 10004, "a limit was exceeded")                                                \
	X(FL_ECORRUPT, 10005, "stored data fails its check")                                       \
	X(FL_EUNAVAILABLE, 10006, "a needed part is not available")                                \
	X(FL_EPRIVILEGE, 10007, "a privilege is missing")                                          \
	X(FL_EUNSUPPORTED, 10008, "this machine or build cannot do it")                            \
	X(FL_EUSAGE, 10009, "the command was not understood")                                      \
	X(FL_ESTATE, 10010, "the present state does not allow it")                                 \
	X(FL_ECOMPACTED, 10011, "the history no longer reaches back that far")                     \
	X(FL_EWAIT, 10012, "what it needs is being made ready: try again in a moment")             \
	X(FL_ECONFIRM, 10013, "it wants to be confirmed")

enum {
#define X(name, code, text) name = (code),
	ERROR_CODES(X)
#undef X
};

struct error {
	int code; /* negative; 0 while nothing went wrong */
	char text[2048]; /* NUL-terminated; may hold several lines (a caret under the fault) */
};

/* The name of a code ("ENOENT", "FL_ECONFLICT"); never NULL. Any thread. */
const char *error_name(int code);

/* The fixed text of a code; never NULL. Any thread. */
const char *error_text(int code);

/*
 * Fill `err` (NULL is fine) with `code` (negative) and a formatted sentence; returns `code`, so
 * that `return error_set(err, -FL_EINVALID, …);` is the usual form. Too long a text is cut.
 */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int error_vset(struct error *err, int code, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* Put "<formatted>: " before the sentence that `err` already holds; returns err->code. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define must_check __attribute__((warn_unused_result))

/*
 * An assertion means a bug and stays in release builds: it prints the expression and the sentence
 * and aborts. Invariants of the design are asserted with their number.
 */
#define ASSERT(expression)                                                                         \
	((expression) ? (void)0 : assert_failed(#expression, "", __FILE__, __LINE__))
#define ASSERT_INVARIANT(number, expression)                                                       \
	((expression) ? (void)0                                                                    \
		      : assert_failed(#expression, "invariant " #number, __FILE__, __LINE__))

__attribute__((noreturn)) void assert_failed(const char *expression, const char *what,
					     const char *file, int line);

#endif
