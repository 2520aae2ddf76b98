/* What the historic headers must say, number by number: the values and layouts of the originals, for 64 bits.
 * layouts.rs compares the headers with the library. */
#ifndef HISTORIC_H
#define HISTORIC_H

#include <stddef.h>

#define IS(what, value) _Static_assert((what) == (value), #what " is " #value)
#define SIZE(type, bytes) IS(sizeof(type), bytes)
#define AT(type, field, offset) IS(offsetof(type, field), offset)

#endif
