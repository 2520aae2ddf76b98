/* What the historic headers must say, number by number: the values and layouts of the originals, for 64 bits.
 * The library has the same numbers, by themselves: of these headers nothing is compared with it. (That is done for
 * syslet.h, by headers.rs.) */
#ifndef HISTORIC_H
#define HISTORIC_H

#include <stddef.h>

#define IS(what, value) _Static_assert((what) == (value), #what " is " #value)
#define SIZE(type, bytes) IS(sizeof(type), bytes)
#define AT(type, field, offset) IS(offsetof(type, field), offset)

#endif
