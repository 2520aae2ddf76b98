/* Loses handles, for a leak check to find: all of them and nothing else. */
#define _GNU_SOURCE
#include "check.h"

enum { LOST = 8, STACK = 65536 };

/* Neither a register nor the stack has the handle afterwards. */
__attribute__((noinline)) static void lose(int end)
{
    static char byte;
    struct syslet_call call = call3(SYS_read, (unsigned long)end, (unsigned long)&byte, 1);
    struct syslet_pending *pending;
    long result;
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
}

__attribute__((noinline)) static void overwrite(void)
{
    volatile char stack[STACK];
    for (size_t n = 0; n < sizeof stack; n++)
        stack[n] = 0;
}

int main(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    attach();
    for (int n = 0; n < LOST; n++)
        lose(ends[0]);
    overwrite();
    return 0;
}
