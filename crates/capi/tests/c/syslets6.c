/* Syslets, version 6. */
#define ATOMS6
#include "atoms.h"
