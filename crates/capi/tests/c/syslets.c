/* Syslets, versions 3 to 5. */
#include "atoms.h"
