/* Linked with -static: no symbol can be looked up, and the C library's own area for restartable sequences, from which
 * sched_getcpu answers, is found all the same. */
#define _GNU_SOURCE
#include "check.h"

/* On each CPU in turn the C library says what the kernel says. */
static void check_cpus(const cpu_set_t *all)
{
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, all))
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        EQUAL(sched_getcpu(), cpu);
    }
    CHECK(sched_setaffinity(0, sizeof *all, all) == 0);
}

int main(void)
{
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (int i = 0; i < 3; i++) {
        attach();
        check_cpus(&all);
        EQUAL(syslet_detach(), 0);
        check_cpus(&all);
    }
    return 0;
}
