/* Of the tests of atoms: those of rings, and of lists that are away. Part of atoms.h. */

/* A chain as fio committed it: one async_exec; then its atoms are walked from the first to the one in the ring. */
static void batch(void)
{
    enum { MANY = 8 };
    atom list[MANY];
    char bytes[MANY + 1] = "";
    long got[MANY];
    unsigned long fd = (unsigned long)ends[0], places[MANY];
    reset();
    for (int n = 0; n < MANY; n++) {
        got[n] = -1;
        places[n] = (unsigned long)&bytes[n];
        list[n] = make(SYS_read, 0, &got[n], n + 1 < MANY ? &list[n + 1] : NULL);
        arg(&list[n], 0, &fd);
        arg(&list[n], 1, &places[n]);
        arg(&list[n], 2, &one);
    }
    CHECK(async_exec(list, &head) == NULL);
    CHECK(write(ends[1], "12345678", MANY) == MANY);
    CHECK(take() == &list[MANY - 1]);
    CHECK(empty());
    CHECK(strcmp(bytes, "12345678") == 0);
    int walked = 0;
    for (atom *at = list; at; at = (atom *)(uintptr_t)at->next, walked++)
        EQUAL(got[walked], 1);
    EQUAL(walked, MANY);
}

/* Each head has a ring of its own, and a wait is for as many as it says. */
static void two_rings(void)
{
    atom lists[3], *other_ring[2] = {NULL, NULL};
    struct async_head_user other;
    char byte;
    long got[3] = {0, 0, 0};
    unsigned long fd = (unsigned long)ends[0], place = (unsigned long)&byte;
    reset();
    memset(&other, 0, sizeof other);
    other.RING = PTR(other_ring);
    other.ring_size_bytes = sizeof other_ring;
    for (int n = 0; n < 3; n++) {
        lists[n] = make(SYS_read, 0, &got[n], NULL);
        arg(&lists[n], 0, &fd);
        arg(&lists[n], 1, &place);
        arg(&lists[n], 2, &one);
        CHECK(async_exec(&lists[n], n == 1 ? &other : &head) == NULL);
    }
    CHECK(write(ends[1], "abc", 3) == 3);
    while (async_wait(2, 0, &head) != 0)
        EQUAL(errno, EINTR);
    CHECK(ring[0] && ring[1] && ring[0] != ring[1] && !ring[2]);
    CHECK(ring[0] != &lists[1] && ring[1] != &lists[1]);
    while (async_wait(1, 0, &other) != 0)
        EQUAL(errno, EINTR);
    CHECK(other_ring[0] == &lists[1] && !other_ring[1]);
    EQUAL(head.kernel_ring_idx, 2);
    EQUAL(other.kernel_ring_idx, 1);
}

/* More lists are over than the ring has room for: none is lost, and none comes twice. */
static void full_ring(void)
{
    enum { LISTS = 3 * ENTRIES };
    atom lists[LISTS];
    long got[LISTS];
    int seen[LISTS] = {0};
    char bytes[LISTS];
    unsigned long fd = (unsigned long)ends[0], places[LISTS];
    reset();
    for (int n = 0; n < LISTS; n++) {
        got[n] = 0;
        places[n] = (unsigned long)&bytes[n];
        lists[n] = make(SYS_read, 0, &got[n], NULL);
        arg(&lists[n], 0, &fd);
        arg(&lists[n], 1, &places[n]);
        arg(&lists[n], 2, &one);
        CHECK(async_exec(&lists[n], &head) == NULL);
    }
    memset(bytes, 0, sizeof bytes);
    CHECK(write(ends[1], "123456789012", LISTS) == LISTS);
    EQUAL(syslet_drain(-1), 0);
    for (int n = 0; n < LISTS; n++) {
        atom *done = take();
        CHECK(done >= lists && done < lists + LISTS);
        EQUAL(seen[done - lists]++, 0);
        EQUAL(got[done - lists], 1);
    }
    CHECK(empty());
}

static void nothing(int signal)
{
    (void)signal;
}

/* A handler that runs on the thread of a list that is away is nothing to the list: its calls are made again, with the
 * time that is left. */
static void handlers_elsewhere(void)
{
    struct sigaction action;
    struct timespec time = {0, 200000000}, begin, end;
    unsigned long fd = (unsigned long)ends[0], where = (unsigned long)&time;
    unsigned long mask = 0;
    char byte = 0;
    unsigned long place = (unsigned long)&byte;
    long got = -1, slept = -1;
    atom list[2];
    DIR *tasks;
    reset();
    memset(&action, 0, sizeof action);
    action.sa_handler = nothing;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    list[0] = make(SYS_ppoll, 0, &slept, &list[1]);
    arg(&list[0], 0, &zero);
    arg(&list[0], 1, &zero);
    arg(&list[0], 2, &where);
    arg(&list[0], 3, &mask);
    list[1] = make(SYS_read, 0, &got, NULL);
    arg(&list[1], 0, &fd);
    arg(&list[1], 1, &place);
    arg(&list[1], 2, &one);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &begin) == 0);
    CHECK(async_exec(list, &head) == NULL);
    /* To every thread, until the first atom is over, and some times more. */
    for (int n = 0, after = 0; after < 100; n++) {
        CHECK((tasks = opendir("/proc/self/task")) != NULL);
        for (struct dirent *task; (task = readdir(tasks)) != NULL;)
            if (atoi(task->d_name) > 0)
                syscall(SYS_tgkill, getpid(), atoi(task->d_name), SIGUSR1);
        closedir(tasks);
        sched_yield();
        if (__atomic_load_n(&slept, __ATOMIC_ACQUIRE) != -1)
            after++;
    }
    CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
    EQUAL(slept, 0);
    CHECK((end.tv_sec - begin.tv_sec) * 1000000000l + end.tv_nsec - begin.tv_nsec >= 200000000);
    EQUAL(got, -1);
    CHECK(write(ends[1], "h", 1) == 1);
    CHECK(take() == &list[1]);
    EQUAL(got, 1);
    CHECK(byte == 'h');
    /* Crew threads that rest have it pending, and give it to the process when they have worked: takes it away. */
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
}

/* SYSLET_NO_COMPLETE of an atom that stops its list: nothing is in the ring. */
static void stopped_in_silence(void)
{
    long answer = 0, after = 0;
    unsigned long word = 0, at = (unsigned long)&word;
    atom list[2];
    reset();
    list[0] = make(SYSLET_NR_UMEM_ADD,
                   SYSLET_ASYNC | SYSLET_NO_COMPLETE | SYSLET_STOP_ON_NONZERO, &answer, &list[1]);
    arg(&list[0], 0, &at);
    arg(&list[0], 1, &one);
    list[1] = make(SYS_getpid, 0, &after, NULL);
    CHECK(async_exec(list, &head) == NULL);
    while (__atomic_load_n(&answer, __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    EQUAL(syslet_drain(-1), 0);
    EQUAL(answer, 1);
    EQUAL(after, 0);
    CHECK(empty());
    /* Without a reason to stop the list is told of by its last atom. */
    word = (unsigned long)-1l;
    list[0].flags &= ~(unsigned)SYSLET_ASYNC;
    CHECK(run(list) == &list[1]);
    EQUAL(after, getpid());
}
