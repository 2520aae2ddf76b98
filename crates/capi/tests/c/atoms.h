/* The tests of atoms, for both layouts: ATOMS6 chooses version 6. */
#define _GNU_SOURCE
#include "check.h"

#ifdef ATOMS6
#include <syslet/syslets6.h>
#define PTR(pointer) ((uint64_t)(uintptr_t)(pointer))
#define RING completion_ring_ptr
#else
#include <syslet/syslets.h>
#define PTR(pointer) ((void *)(pointer))
#define RING completion_ring
#endif
#include "historic.h"
#include "six.h"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>

IS(SYSLET_ASYNC, 0x1);
IS(SYSLET_SYNC, 0x2);
IS(SYSLET_NO_COMPLETE, 0x4);
IS(SYSLET_STOP_ON_NONZERO, 0x8);
IS(SYSLET_STOP_ON_ZERO, 0x10);
IS(SYSLET_STOP_ON_NEGATIVE, 0x20);
IS(SYSLET_STOP_ON_NON_POSITIVE, 0x40);
IS(SYSLET_STOP_MASK, 0x78);
IS(SYSLET_SKIP_TO_NEXT_ON_STOP, 0x80);
#ifdef ATOMS6
SIZE(struct syslet_uatom, 80);
AT(struct syslet_uatom, flags, 0);
AT(struct syslet_uatom, nr, 4);
AT(struct syslet_uatom, ret_ptr, 8);
AT(struct syslet_uatom, next, 16);
AT(struct syslet_uatom, arg_ptr, 24);
AT(struct syslet_uatom, private, 72);
AT(struct async_head_user, completion_ring_ptr, 16);
AT(struct async_head_user, head_ip, 40);
AT(struct async_head_user, new_thread_ip, 56);
#else
SIZE(struct syslet_uatom, 88);
AT(struct syslet_uatom, flags, 0);
AT(struct syslet_uatom, nr, 8);
AT(struct syslet_uatom, ret_ptr, 16);
AT(struct syslet_uatom, next, 24);
AT(struct syslet_uatom, arg_ptr, 32);
AT(struct syslet_uatom, private, 80);
AT(struct async_head_user, completion_ring, 16);
AT(struct async_head_user, head_eip, 40);
AT(struct async_head_user, new_thread_eip, 56);
#endif
SIZE(struct async_head_user, 64);
AT(struct async_head_user, kernel_ring_idx, 0);
AT(struct async_head_user, user_ring_idx, 8);
AT(struct async_head_user, ring_size_bytes, 24);
AT(struct async_head_user, head_stack, 32);
AT(struct async_head_user, new_thread_stack, 48);

typedef struct syslet_uatom atom;

enum { ENTRIES = 4 };
static atom *ring[ENTRIES];
static struct async_head_user head;
static int ends[2];

static unsigned long zero = 0, one = 1;

static atom make(unsigned long nr, unsigned long flags, long *ret, atom *next)
{
    atom made;
    memset(&made, 0, sizeof made);
    made.nr = (unsigned)nr;
    made.flags = (unsigned)flags;
    made.ret_ptr = PTR(ret);
    made.next = PTR(next);
    return made;
}

static void arg(atom *to, int number, const void *pointer)
{
    to->arg_ptr[number] = PTR(pointer);
}

static void reset(void)
{
    memset(ring, 0, sizeof ring);
    memset(&head, 0, sizeof head);
    head.RING = PTR(ring);
    head.ring_size_bytes = sizeof ring;
}

/* Takes the next completion out, as fio did. */
static atom *take(void)
{
    while (async_wait(1, head.user_ring_idx, &head) != 0)
        EQUAL(errno, EINTR);
    atom *done = __atomic_load_n(&ring[head.user_ring_idx], __ATOMIC_ACQUIRE);
    CHECK(done != NULL);
    __atomic_store_n(&ring[head.user_ring_idx], (atom *)NULL, __ATOMIC_RELEASE);
    head.user_ring_idx = (head.user_ring_idx + 1) % ENTRIES;
    return done;
}

static int empty(void)
{
    for (int n = 0; n < ENTRIES; n++)
        if (__atomic_load_n(&ring[n], __ATOMIC_ACQUIRE))
            return 0;
    return 1;
}

/* Runs a list to its end, and answers its last atom; says where it ended. */
static atom *run(atom *first)
{
    atom *last = async_exec(first, &head);
    CHECK(last != (atom *)-1);
    if (last == NULL)
        return take();
    CHECK(empty());
    return last;
}

static void inline_or_not(void)
{
    char byte = 0;
    unsigned long fd = (unsigned long)ends[0], place = (unsigned long)&byte;
    long pid = 0, got = 0;
    atom list[2];
    reset();
    list[0] = make(SYS_getpid, 0, &pid, NULL);
    CHECK(run(&list[0]) == &list[0]);
    EQUAL(pid, getpid());

    /* The last atom of a list that went away is in the ring, once. */
    reset();
    list[0] = make(SYS_read, 0, &got, &list[1]);
    arg(&list[0], 0, &fd);
    arg(&list[0], 1, &place);
    arg(&list[0], 2, &one);
    pid = 0;
    list[1] = make(SYS_getpid, 0, &pid, NULL);
    head.new_thread_stack = 4711;
    CHECK(async_exec(list, &head) == NULL);
    EQUAL(head.new_thread_stack, 0);
    CHECK(empty());
    EQUAL(head.kernel_ring_idx, 0);
    CHECK(write(ends[1], "a", 1) == 1);
    CHECK(take() == &list[1]);
    CHECK(byte == 'a' && got == 1 && pid == getpid());
    EQUAL(head.kernel_ring_idx, 1);
    CHECK(empty());

    /* Refilled, the stack is used up by the next list that goes away, and by none that does not. */
    head.new_thread_stack = 4712;
    list[0] = make(SYS_getpid, SYSLET_SYNC, NULL, NULL);
    CHECK(async_exec(list, &head) == list);
    EQUAL(head.new_thread_stack, 4712);
    list[0].flags = SYSLET_ASYNC;
    CHECK(async_exec(list, &head) == NULL);
    EQUAL(head.new_thread_stack, 0);
    CHECK(take() == list);
    EQUAL(head.kernel_ring_idx, 2);

    /* Without a place for the answer. */
    list[0] = make(SYS_getpid, 0, NULL, NULL);
    CHECK(run(&list[0]) == &list[0]);
    /* Arguments end with the first NULL, what stands after it is not looked at; `private` never is. */
    list[0] = make(SYS_getpid, 0, &pid, NULL);
    arg(&list[0], 1, (void *)8);
    list[0].private = PTR(0x1234);
    pid = 0;
    CHECK(run(&list[0]) == &list[0]);
    EQUAL(pid, getpid());
    CHECK(list[0].private == PTR(0x1234));
}

/* How often a list is run of which most are not preempted: one that is goes away. */
enum { TIMES = 20 };

/* Which thread an atom was made by, and which one has run the list: where their links in /proc lead. */
static struct {
    unsigned long path, place, size;
    long got;
    char made_by[64], own[64];
} told;

/* An atom that says which thread it is made by. */
static atom telling(atom *next)
{
    atom made = make(SYS_readlink, 0, &told.got, next);
    memset(&told, 0, sizeof told);
    told.path = (unsigned long)"/proc/thread-self";
    told.place = (unsigned long)told.made_by;
    told.size = sizeof told.made_by - 1;
    CHECK(readlink("/proc/thread-self", told.own, sizeof told.own - 1) > 0);
    arg(&made, 0, &told.path);
    arg(&made, 1, &told.place);
    arg(&made, 2, &told.size);
    return made;
}

/* Afterwards: whether it was made by the one that has run the list. */
static int was_made_here(void)
{
    EQUAL(told.got, strlen(told.made_by));
    return strcmp(told.made_by, told.own) == 0;
}

/* SYSLET_ASYNC of an atom that would not sleep, after one that is made here. */
static void asynchronous_after_others(void)
{
    int made_here = 0;
    for (int n = 0; n < TIMES; n++) {
        long second = 0;
        atom list[2];
        list[0] = telling(&list[1]);
        list[1] = make(SYS_getppid, SYSLET_ASYNC, &second, NULL);
        CHECK(async_exec(list, &head) == NULL);
        CHECK(take() == &list[1]);
        made_here += was_made_here();
        EQUAL(second, getppid());
    }
    CHECK(way_is("pool") || made_here >= TIMES / 2);
}

/* SYSLET_SYNC of an atom that sleeps, after one that is made here: the caller stays. */
static void synchronous_after_others(void)
{
    struct timespec brief = {0, 3000000};
    unsigned long time = (unsigned long)&brief;
    int stayed = 0;
    for (int n = 0; n < TIMES; n++) {
        long first = -1, second = -1, third = -1;
        atom list[3];
        list[0] = make(SYS_getpid, 0, &first, &list[2]);
        list[2] = make(SYS_nanosleep, SYSLET_SYNC, &second, &list[1]);
        arg(&list[2], 0, &time);
        arg(&list[2], 1, &zero);
        list[1] = make(SYS_getpid, SYSLET_SYNC, &third, NULL);
        atom *last = async_exec(list, &head);
        stayed += last != NULL;
        CHECK((last ? last : take()) == &list[1]);
        CHECK(empty());
        EQUAL(first, getpid());
        EQUAL(second, 0);
        EQUAL(third, getpid());
    }
    if (way_is("pool"))
        EQUAL(stayed, 0);
    else
        CHECK(stayed >= TIMES / 2);
}

static void flags(void)
{
    char byte = 0;
    unsigned long fd = (unsigned long)ends[0], place = (unsigned long)&byte;
    long first = 0, second = 0;
    atom list[3];
    reset();
    /* SYSLET_ASYNC: not even tried here. */
    list[0] = make(SYS_getpid, SYSLET_ASYNC, &first, NULL);
    CHECK(async_exec(list, &head) == NULL);
    CHECK(take() == list && first == getpid());
    /* Also in the middle of a list: what comes before it is made here. */
    first = second = 0;
    list[0] = make(SYS_getpid, 0, &first, &list[1]);
    list[1] = make(SYS_read, SYSLET_ASYNC, &second, NULL);
    arg(&list[1], 0, &fd);
    arg(&list[1], 1, &place);
    arg(&list[1], 2, &one);
    CHECK(async_exec(list, &head) == NULL);
    CHECK(empty());
    CHECK(write(ends[1], "b", 1) == 1);
    CHECK(take() == &list[1]);
    EQUAL(second, 1);
    EQUAL(first, getpid());
    asynchronous_after_others();
    /* SYSLET_NO_COMPLETE: nothing is in the ring. */
    list[1].flags |= SYSLET_NO_COMPLETE;
    second = 0;
    CHECK(async_exec(list, &head) == NULL);
    CHECK(write(ends[1], "c", 1) == 1);
    while (__atomic_load_n(&second, __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    EQUAL(syslet_drain(-1), 0);
    CHECK(empty());
    /* Of the last atom: that of another one says nothing. */
    list[0].flags = SYSLET_NO_COMPLETE;
    list[1].flags = SYSLET_ASYNC;
    CHECK(async_exec(list, &head) == NULL);
    CHECK(write(ends[1], "d", 1) == 1);
    CHECK(take() == &list[1]);
    /* SYSLET_SYNC: the caller stays, though the call sleeps. */
    struct timespec brief = {0, 3000000};
    unsigned long time = (unsigned long)&brief;
    list[0] = make(SYS_nanosleep, SYSLET_SYNC, &first, &list[1]);
    arg(&list[0], 0, &time);
    arg(&list[0], 1, &zero);
    list[1] = make(SYS_getpid, SYSLET_SYNC, &second, NULL);
    first = second = -1;
    CHECK(async_exec(list, &head) == &list[1]);
    EQUAL(first, 0);
    EQUAL(second, getpid());
    synchronous_after_others();
}

/* Makes an atom that answers `value`, as far as umem_add to 0 does. */
static long condition(long value, unsigned long flags, long *after)
{
    long answer = 0;
    unsigned long word = 0, increment = (unsigned long)value;
    unsigned long at = (unsigned long)&word;
    atom list[2];
    list[0] = make(SYSLET_NR_UMEM_ADD, flags, &answer, &list[1]);
    arg(&list[0], 0, &at);
    arg(&list[0], 1, &increment);
    list[1] = make(SYS_getpid, 0, after, NULL);
    *after = 0;
    atom *last = run(list);
    EQUAL(answer, value);
    return last == list; /* stopped */
}

static const long values[] = {-5, 0, 5};
static const struct rule {
    unsigned long flag;
    int stops[3];
} rules[] = {
    {0, {0, 0, 0}},
    {SYSLET_STOP_ON_NONZERO, {1, 0, 1}},
    {SYSLET_STOP_ON_ZERO, {0, 1, 0}},
    {SYSLET_STOP_ON_NEGATIVE, {1, 0, 0}},
    {SYSLET_STOP_ON_NON_POSITIVE, {1, 1, 0}},
    {SYSLET_STOP_ON_ZERO | SYSLET_STOP_ON_NEGATIVE, {1, 1, 0}},
    {SYSLET_STOP_MASK, {1, 1, 1}},
};
enum { RULES = sizeof rules / sizeof *rules };

static void stop_conditions(void)
{
    reset();
    for (size_t rule = 0; rule < RULES; rule++) {
        for (int n = 0; n < 3; n++) {
            long after;
            EQUAL(condition(values[n], rules[rule].flag, &after), rules[rule].stops[n]);
            CHECK((after == 0) == rules[rule].stops[n]);
            /* Away, it is the atom that has stopped the list that comes to the ring. */
            unsigned long flags = rules[rule].flag | SYSLET_ASYNC;
            EQUAL(condition(values[n], flags, &after), rules[rule].stops[n]);
            CHECK((after == 0) == rules[rule].stops[n]);
        }
    }
}

/* The branch: on a stop, the atom that follows in memory, else `next`. */
static void branches(void)
{
    for (int variant = 0; variant < 4; variant++) {
        int taken = variant & 1;
        unsigned long word = 0, increment = taken ? 0 : 1, at = (unsigned long)&word;
        long linear = 0, next = 0;
        atom list[3];
        reset();
        list[0] = make(SYSLET_NR_UMEM_ADD, SYSLET_STOP_ON_ZERO | SYSLET_SKIP_TO_NEXT_ON_STOP, NULL,
                       &list[2]);
        if (variant >= 2)
            list[0].flags |= SYSLET_ASYNC;
        arg(&list[0], 0, &at);
        arg(&list[0], 1, &increment);
        list[1] = make(SYS_getpid, 0, &linear, NULL);
        list[2] = make(SYS_getpid, 0, &next, NULL);
        CHECK(run(list) == &list[taken ? 1 : 2]);
        CHECK((linear != 0) == taken && (next != 0) == !taken);
        /* Also where the list has no next one: then it ends there, unless it branches. */
        word = 0;
        linear = 0;
        list[0].next = 0;
        CHECK(run(list) == &list[taken ? 1 : 0]);
        CHECK((linear != 0) == taken);
    }
}

/* A loop, counted by umem_add; its calls share an argument. */
static void loops(void)
{
    unsigned long counter = (unsigned long)-10l, at = (unsigned long)&counter;
    unsigned long fd = (unsigned long)ends[1], text = (unsigned long)"xy", two = 2;
    char bytes[32];
    long written = 0;
    atom list[3];
    reset();
    list[0] = make(SYS_write, SYSLET_STOP_ON_NEGATIVE, &written, &list[1]);
    arg(&list[0], 0, &fd);
    arg(&list[0], 1, &text);
    arg(&list[0], 2, &two);
    list[1] = make(SYSLET_NR_UMEM_ADD, SYSLET_STOP_ON_ZERO, NULL, &list[0]);
    arg(&list[1], 0, &at);
    arg(&list[1], 1, &one);
    CHECK(run(list) == &list[1]);
    EQUAL(counter, 0);
    EQUAL(read(ends[0], bytes, sizeof bytes), 20);
}

/* The answer of one atom is the argument of another: open, read, close. */
static void feeding(void)
{
    char buffer[32] = "";
    unsigned long at = (unsigned long)AT_FDCWD, path = (unsigned long)"/proc/self/comm";
    unsigned long how = O_RDONLY | O_CLOEXEC, place = (unsigned long)buffer, size = sizeof buffer;
    long fd = -1, got = -1, closed = -1;
    atom list[3];
    reset();
    list[0] = make(SYS_openat, SYSLET_STOP_ON_NEGATIVE, &fd, &list[1]);
    arg(&list[0], 0, &at);
    arg(&list[0], 1, &path);
    arg(&list[0], 2, &how);
    list[1] = make(SYS_read, 0, &got, &list[2]);
    arg(&list[1], 0, &fd);
    arg(&list[1], 1, &place);
    arg(&list[1], 2, &size);
    list[2] = make(SYS_close, 0, &closed, NULL);
    arg(&list[2], 0, &fd);
    CHECK(run(list) == &list[2]);
    CHECK(fd > 2 && got > 0 && closed == 0 && buffer[got - 1] == '\n');
    path = (unsigned long)"/no such file";
    got = -1;
    CHECK(run(list) == &list[0]);
    EQUAL(fd, -ENOENT);
    EQUAL(got, -1);
}

/* Each argument of an atom is the one that it is to the kernel. */
static void six_arguments_of_an_atom(void)
{
    struct six six = six_begin();
    long answer = 0;
    atom alone = make(SYS_mmap, 0, &answer, NULL);
    for (int n = 0; n < 6; n++)
        arg(&alone, n, &six.args[n]);
    reset();
    CHECK(run(&alone) == &alone);
    six_end(&six, answer);
}

#include "atoms-rings.h"
#include "atoms-slept.h"
#include "atoms-threads.h"
#include "atoms-bad.h"

int main(void)
{
    CHECK(pipe(ends) == 0);
    inline_unless_in_a_pool(0);
    attach();
    inline_unless_in_a_pool(1);
    inline_or_not();
    batch();
    two_rings();
    flags();
    stop_conditions();
    stopped_in_silence();
    sleeping_after_others();
    flags_after_sleep();
    stop_conditions_after_sleep();
    bad_atoms_after_others();
    branches();
    loops();
    feeding();
    six_arguments_of_an_atom();
    full_ring();
    handlers_elsewhere();
    one_head_for_many();
    additions_at_once();
    packed();
    bad_input();
    EQUAL(syslet_detach(), 0);
    return 0;
}
