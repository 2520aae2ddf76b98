/* Of the tests of atoms: edges of memory, and what is answered for bad input. Part of atoms.h. */

/* An atom that ends after its first NULL argument may end there in memory. */
static void packed(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t size = offsetof(atom, arg_ptr) + 8;
    long pid = 0;
    atom whole = make(SYS_getpid, 0, &pid, NULL);
    atom *edge = (atom *)(void *)(memory + page - size);
    CHECK(mprotect(memory + page, page, PROT_NONE) == 0);
    reset();
    memcpy((void *)edge, &whole, size);
    CHECK(run(edge) == edge);
    EQUAL(pid, getpid());
    /* It stays: what is unmapped after its use is not found. */
}

/* umem_add as an atom answers what is wrong with its word, as a call would. */
static void bad_additions(char *gone)
{
    unsigned long word = 5, at;
    const struct {
        void *word;
        long answer;
    } bad[] = {{NULL, -EFAULT}, {gone, -EFAULT}, {(char *)&word + 4, -EINVAL}, {(void *)8, -EFAULT},
               {(void *)-8l, -EFAULT}};
    long answer, after;
    atom list[2];
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        at = (unsigned long)bad[n].word;
        list[0] = make(SYSLET_NR_UMEM_ADD, 0, &answer, &list[1]);
        arg(&list[0], 0, &at);
        arg(&list[0], 1, &one);
        list[1] = make(SYS_getpid, 0, &after, NULL);
        answer = after = 0;
        CHECK(run(list) == &list[1]);
        EQUAL(answer, bad[n].answer);
        EQUAL(after, getpid());
        list[0].flags = SYSLET_STOP_ON_NEGATIVE;
        CHECK(run(list) == &list[0]);
    }
    EQUAL(word, 5);
    /* Nor has it one without arguments. */
    list[0] = make(SYSLET_NR_UMEM_ADD, 0, &answer, NULL);
    answer = 0;
    CHECK(run(list) == list);
    EQUAL(answer, -EFAULT);
}

#define FAILS(call, why)                                                                          \
    do {                                                                                          \
        errno = 0;                                                                                \
        CHECK((long)(call) == -1);                                                                \
        EQUAL(errno, why);                                                                        \
    } while (0)

static void bad_input(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *gone = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long answer = 9;
    atom one_atom = make(SYS_getpid, 0, &answer, NULL);
    unsigned long word = 5;
    CHECK(mprotect(gone, page, PROT_NONE) == 0);
    reset();
    FAILS(async_exec(NULL, &head), EFAULT);
    FAILS(async_exec((atom *)(void *)gone, &head), EFAULT);
    FAILS(async_exec((atom *)(void *)((char *)&one_atom + 4), &head), EINVAL);
    FAILS(async_exec(&one_atom, NULL), EFAULT);
    FAILS(async_exec(&one_atom, (void *)gone), EFAULT);
    FAILS(async_exec(&one_atom, (void *)((char *)&head + 4)), EINVAL);
    head.ring_size_bytes = 0;
    FAILS(async_exec(&one_atom, &head), EINVAL);
    head.ring_size_bytes = 12;
    FAILS(async_exec(&one_atom, &head), EINVAL);
    reset();
    head.RING = PTR(gone);
    FAILS(async_exec(&one_atom, &head), EFAULT);
    head.RING = PTR((char *)ring + 4);
    FAILS(async_exec(&one_atom, &head), EINVAL);
    head.RING = 0;
    FAILS(async_exec(&one_atom, &head), EFAULT);
    FAILS(async_wait(1, 0, &head), EFAULT);
    reset();
    for (size_t bit = 8; bit < 8 * sizeof one_atom.flags; bit++) {
        one_atom.flags = 1;
        one_atom.flags <<= bit;
        FAILS(async_exec(&one_atom, &head), EINVAL);
    }
    one_atom.flags = SYSLET_SYNC | SYSLET_ASYNC;
    FAILS(async_exec(&one_atom, &head), EINVAL);
    EQUAL(answer, 9);
    one_atom = make(SYS_getpid, SYSLET_SYNC, (long *)(void *)gone, NULL);
    FAILS(async_exec(&one_atom, &head), EFAULT);
    one_atom = make(SYS_getpid, SYSLET_SYNC, &answer, (atom *)(void *)gone);
    FAILS(async_exec(&one_atom, &head), EFAULT);
    EQUAL(answer, getpid());
    one_atom = make(SYS_close, SYSLET_SYNC, &answer, NULL);
    arg(&one_atom, 0, gone);
    FAILS(async_exec(&one_atom, &head), EFAULT);
    /* Calls that are refused, or are none: the atom's own answer. */
    static const unsigned forks[] = {SYS_fork, SYS_vfork, SYS_clone, SYS_clone3};
    for (size_t n = 0; n < sizeof forks / sizeof *forks; n++) {
        one_atom = make(forks[n], 0, &answer, NULL);
        answer = 0;
        CHECK(run(&one_atom) == &one_atom);
        EQUAL(answer, -EPERM);
    }
    one_atom = make(66666, 0, &answer, NULL);
    CHECK(run(&one_atom) == &one_atom);
    EQUAL(answer, -ENOSYS);
    /* A list that finds a bad atom when it is away ends there. */
    one_atom = make(SYS_getpid, SYSLET_ASYNC, (long *)(void *)gone, NULL);
    CHECK(async_exec(&one_atom, &head) == NULL);
    CHECK(take() == &one_atom);

    EQUAL(async_wait(0, 0, &head), 0);
    FAILS(async_wait(ENTRIES + 1, 0, &head), EINVAL);
    FAILS(async_wait(1, ENTRIES, &head), EINVAL);
    FAILS(async_wait(1, 0, NULL), EFAULT);
    FAILS(async_thread(NULL, NULL), ENOSYS);
    FAILS(async_thread(NULL, &head), EFAULT);
    FAILS(async_thread(&one_atom, NULL), EFAULT);
    EQUAL(async_thread(&one_atom, &head), 0);
    CHECK(take() == &one_atom);
    EQUAL(umem_add(&word, 3), 8);
    EQUAL(umem_add(&word, (unsigned long)-9l), -1);
    bad_additions(gone);
    FAILS(umem_add(NULL, 1), EFAULT);
    FAILS(umem_add((void *)gone, 1), EFAULT);
    FAILS(umem_add((void *)((char *)&word + 2), 1), EINVAL);
}
