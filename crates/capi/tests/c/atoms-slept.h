/* Of the tests of atoms: lists that really stay, and lists that really have slept: they are handed off in the middle of
 * an atom, and not because one of them says SYSLET_ASYNC. Part of atoms.h. */

#include <sys/socket.h>

/* What does not sleep is over when async_exec returns; a list that is preempted is handed off, which few are. Threads
 * that are not attached send every list to the pool. */
static void inline_unless_in_a_pool(int is_attached)
{
    enum { LISTS = 100 };
    char text[] = "cached", name[8];
    int file = memfd_create("cached", 0), stayed = 0;
    unsigned long fd = (unsigned long)file, place = (unsigned long)name, size = sizeof text;
    long got, pid;
    atom list[2];
    CHECK(file >= 0 && write(file, text, sizeof text) == sizeof text);
    reset();
    list[0] = make(SYS_pread64, 0, &got, &list[1]);
    arg(&list[0], 0, &fd);
    arg(&list[0], 1, &place);
    arg(&list[0], 2, &size);
    arg(&list[0], 3, &zero);
    list[1] = make(SYS_getpid, 0, &pid, NULL);
    for (int n = 0; n < LISTS; n++) {
        got = pid = 0;
        memset(name, 0, sizeof name);
        atom *last = async_exec(list, &head);
        if (last) {
            CHECK(last == &list[1]);
            CHECK(empty());
            stayed++;
        } else {
            CHECK(take() == &list[1]);
        }
        EQUAL(got, sizeof text);
        EQUAL(pid, getpid());
        CHECK(strcmp(name, text) == 0);
    }
    if (is_attached && !way_is("pool"))
        CHECK(stayed >= LISTS / 2);
    else
        EQUAL(stayed, 0);
    close(file);
}

/* What a sleeping atom reads: one end of a pair of sockets. */
static struct {
    int pair[2];
    unsigned long fd, place;
    long got;
    char byte;
} slept;

/* An atom that sleeps until `end` says how it ends. */
static atom sleeping(unsigned long flags, atom *next)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, slept.pair) == 0);
    slept.fd = (unsigned long)slept.pair[0];
    slept.place = (unsigned long)&slept.byte;
    slept.got = 4711;
    atom made = make(SYS_read, flags, &slept.got, next);
    arg(&made, 0, &slept.fd);
    arg(&made, 1, &slept.place);
    arg(&made, 2, &one);
    return made;
}

/* Hands off a list that begins with it, and ends its sleep: its answer has the sign of `sign`. */
static void hand_off(atom *list, long sign)
{
    CHECK(sign >= 0 || write(slept.pair[0], "x", 1) == 1); /* what the other end leaves unread is an error here */
    CHECK(async_exec(list, &head) == NULL);
    CHECK(empty());
    EQUAL(slept.got, 4711);
    if (sign > 0)
        CHECK(write(slept.pair[1], "s", 1) == 1);
    close(slept.pair[1]);
}

/* Afterwards. */
static void woken(long sign)
{
    EQUAL(slept.got, sign > 0 ? 1 : sign == 0 ? 0 : -ECONNRESET);
    CHECK(empty());
    close(slept.pair[0]);
}

/* One in the middle sleeps: what comes before it is made here, and what comes after it where it woke up. */
static void sleeping_after_others(void)
{
    int made_here = 0;
    reset();
    for (int n = 0; n < TIMES; n++) {
        long last = 0;
        atom list[3];
        list[1] = sleeping(0, &list[2]);
        list[0] = telling(&list[1]);
        list[2] = make(SYS_getppid, 0, &last, NULL);
        CHECK(async_exec(list, &head) == NULL);
        CHECK(empty());
        EQUAL(slept.got, 4711);
        EQUAL(last, 0);
        CHECK(write(slept.pair[1], "m", 1) == 1);
        CHECK(take() == &list[2]);
        made_here += was_made_here();
        EQUAL(slept.byte, 'm');
        EQUAL(last, getppid());
        close(slept.pair[1]);
        woken(1);
    }
    CHECK(way_is("pool") || made_here >= TIMES / 2);
}

/* After an atom that has slept the others are made where it woke up, however they want to be made. */
static void flags_after_sleep(void)
{
    static const unsigned long ways[] = {0, SYSLET_SYNC, SYSLET_ASYNC};
    reset();
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        long pid = 0, parent = 0;
        atom list[3];
        list[0] = sleeping(0, &list[1]);
        list[1] = make(SYS_getpid, ways[way], &pid, NULL);
        hand_off(list, 1);
        CHECK(take() == &list[1]);
        EQUAL(pid, getpid());
        woken(1);
        /* Also with another one after it. */
        pid = 0;
        list[0] = sleeping(SYSLET_NO_COMPLETE, &list[1]); /* not the last one: says nothing */
        list[1].next = PTR(&list[2]);
        list[2] = make(SYS_getppid, ways[way], &parent, NULL);
        hand_off(list, 1);
        CHECK(take() == &list[2]);
        EQUAL(pid, getpid());
        EQUAL(parent, getppid());
        woken(1);
        /* SYSLET_NO_COMPLETE of the last one. */
        parent = 0;
        list[0] = sleeping(0, &list[1]);
        list[2].flags |= SYSLET_NO_COMPLETE;
        hand_off(list, 1);
        EQUAL(syslet_drain(-1), 0);
        EQUAL(parent, getppid());
        woken(1);
    }
    /* It may be the one that has slept. */
    atom alone = sleeping(SYSLET_NO_COMPLETE, NULL);
    hand_off(&alone, 1);
    EQUAL(syslet_drain(-1), 0);
    woken(1);
}

/* The condition of an atom that comes after one that has slept, or of that one. */
static void stop_after_sleep(const struct rule *rule, int n, unsigned long skip, int itself)
{
    unsigned long word = 0, increment = (unsigned long)values[n], at = (unsigned long)&word;
    unsigned long flags = rule->flag | skip;
    long linear = 0, next = 0, answer = 0, sign = itself ? values[n] : 1;
    atom list[4];
    atom *decides = &list[itself ? 1 : 0];
    list[0] = make(SYS_getpid, 0, NULL, NULL);
    if (itself) {
        list[1] = sleeping(flags, &list[3]);
    } else {
        list[0] = sleeping(0, &list[1]);
        list[1] = make(SYSLET_NR_UMEM_ADD, flags, &answer, &list[3]);
        arg(&list[1], 0, &at);
        arg(&list[1], 1, &increment);
        decides = &list[1];
    }
    list[2] = make(SYS_getpid, 0, &linear, NULL);
    list[3] = make(SYS_getpid, 0, &next, NULL);
    hand_off(&list[itself ? 1 : 0], sign);
    int stops = rule->stops[n];
    CHECK(take() == (!stops ? &list[3] : skip ? &list[2] : decides));
    EQUAL(next, stops ? 0 : getpid());
    EQUAL(linear, stops && skip ? getpid() : 0);
    EQUAL(answer, itself ? 0 : values[n]);
    woken(sign);
}

static void stop_conditions_after_sleep(void)
{
    reset();
    for (size_t number = 0; number < RULES; number++) {
        for (int n = 0; n < 3; n++) {
            for (int itself = 0; itself < 2; itself++) {
                stop_after_sleep(&rules[number], n, 0, itself);
                stop_after_sleep(&rules[number], n, SYSLET_SKIP_TO_NEXT_ON_STOP, itself);
            }
        }
    }
}

/* Atoms that cannot be made: in list[1], or `other` in its place; and why. */
struct bad {
    atom list[2];
    atom *other;
    unsigned long word, increment, at;
    long answer;
    int why;
};

enum { BAD = 6 };

static void make_bad(struct bad *bad, int number, void *gone)
{
    memset(bad, 0, sizeof *bad);
    bad->increment = 1;
    bad->at = (unsigned long)&bad->word;
    bad->why = EFAULT;
    bad->other = &bad->list[1];
    bad->list[1] = make(SYSLET_NR_UMEM_ADD, 0, &bad->answer, NULL);
    arg(&bad->list[1], 0, &bad->at);
    arg(&bad->list[1], 1, &bad->increment);
    switch (number) {
    case 0:
        bad->list[1].ret_ptr = PTR(gone);
        break;
    case 1:
        arg(&bad->list[1], 1, gone);
        break;
    case 2:
        bad->other = gone;
        break;
    case 3:
        bad->other = (atom *)(void *)((char *)&bad->list[1] + 4);
        bad->why = EINVAL;
        break;
    case 4:
        bad->list[1].flags = 0x100;
        bad->why = EINVAL;
        break;
    default:
        bad->list[1].flags = SYSLET_SYNC | SYSLET_ASYNC;
        bad->why = EINVAL;
    }
}

/* The list ends at the bad atom, which is not made: a list that has slept has it in its ring, one that is still here
 * says why. */
static void bad_atoms_after_others(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *gone = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct bad bad;
    CHECK(gone != MAP_FAILED);
    reset();
    for (int number = 0; number < BAD; number++) {
        make_bad(&bad, number, gone);
        bad.list[0] = sleeping(0, bad.other);
        hand_off(bad.list, 1);
        CHECK(take() == bad.other);
        woken(1);
        EQUAL(bad.word, 0);
        EQUAL(bad.answer, 0);

        int stayed = 0;
        for (int n = 0; n < TIMES; n++) {
            long pid = 0;
            bad.list[0] = make(SYS_getpid, 0, &pid, bad.other);
            errno = 0;
            atom *last = async_exec(bad.list, &head);
            if (last == (atom *)-1) {
                EQUAL(errno, bad.why);
                CHECK(empty());
                stayed++;
            } else {
                CHECK(last == NULL && take() == bad.other);
            }
            EQUAL(pid, getpid());
            EQUAL(bad.word, 0);
            EQUAL(bad.answer, 0);
        }
        if (way_is("pool"))
            EQUAL(stayed, 0);
        else
            CHECK(stayed >= TIMES / 2);
    }
    munmap(gone, page);
}
