/* Of the tests of atoms: many threads at once. Part of atoms.h. */

enum { SHARERS = 8, READS = 500, ADDS = 20000 };
static atom shared[SHARERS][READS];
static long shared_got[SHARERS][READS];
static int shared_seen[SHARERS][READS];
static char shared_bytes[SHARERS][READS];
/* What the threads put into the ring themselves: after each list, so that they meet there; when they are through. */
enum { EVENTS = 8 * READS };
static char events[SHARERS][EVENTS];
static long marks[SHARERS];

/* Reads bytes out of a pipe that all read, with a list for each, and writes one for each. */
static void *sharer(void *data)
{
    long number = (long)data;
    unsigned long fd = (unsigned long)ends[0], places[READS];
    attach();
    for (int n = 0; n < READS; n++) {
        atom *list = &shared[number][n];
        char byte = (char)(number * READS + n);
        places[n] = (unsigned long)&shared_bytes[number][n];
        *list = make(SYS_read, 0, &shared_got[number][n], NULL);
        arg(list, 0, &fd);
        arg(list, 1, &places[n]);
        arg(list, 2, &one);
        atom *last = async_exec(list, &head);
        if (last) {
            CHECK(last == list);
            shared_seen[number][n]++;
        }
        CHECK(write(ends[1], &byte, 1) == 1);
        for (int k = n * (EVENTS / READS); k < (n + 1) * (EVENTS / READS); k++)
            EQUAL(async_thread(&events[number][k], &head), 0);
    }
    EQUAL(async_thread(&marks[number], &head), 0);
    /* The lists use what is on this stack. */
    while (__atomic_load_n(&marks[number], __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    EQUAL(syslet_detach(), 0);
    return NULL;
}

/* Many threads share a head: each of their lists has its end once, here or in the ring, which is much too small. */
static void one_head_for_many(void)
{
    pthread_t threads[SHARERS];
    int through = 0, count = 0, inlined = 0, others = 0;
    long sum = 0;
    reset();
    for (long n = 0; n < SHARERS; n++)
        CHECK(pthread_create(&threads[n], NULL, sharer, (void *)n) == 0);
    /* What comes behind the last mark is known to be away. */
    while (through < SHARERS || count + inlined < SHARERS * READS || others < SHARERS * EVENTS) {
        atom *done = take();
        if ((char *)done >= &events[0][0] && (char *)done <= &events[SHARERS - 1][EVENTS - 1]) {
            CHECK((*(char *)done)++ == 0);
            others++;
            continue;
        }
        if ((void *)done >= (void *)marks && (void *)done < (void *)(marks + SHARERS)) {
            atom(*all)[READS] = &shared[(long *)(void *)done - marks];
            for (int n = 0; n < READS; n++)
                inlined += shared_seen[all - shared][n] & 1;
            through++;
            continue;
        }
        CHECK(done >= &shared[0][0] && done <= &shared[SHARERS - 1][READS - 1]);
        (&shared_seen[0][0])[done - &shared[0][0]] += 2;
        count++;
    }
    CHECK(empty());
    for (long n = 0; n < SHARERS; n++) {
        __atomic_store_n(&marks[n], 1, __ATOMIC_RELEASE);
        CHECK(pthread_join(threads[n], NULL) == 0);
    }
    for (int n = 0; n < SHARERS * READS; n++) {
        int seen = (&shared_seen[0][0])[n];
        CHECK(seen == 1 || seen == 2);
        EQUAL((&shared_got[0][0])[n], 1);
        sum += (&shared_bytes[0][0])[n] - (char)n;
    }
    EQUAL(sum, 0); /* each byte was read once */
}

static unsigned long total;

/* Adds to a word that others add to, by the function or by atoms. */
static void *adder(void *data)
{
    unsigned long at = (unsigned long)&total, counter = (unsigned long)-(long)ADDS;
    unsigned long counting = (unsigned long)&counter;
    long before = 0;
    atom list[2];
    attach();
    if ((long)data % 2) {
        for (int n = 0; n < ADDS; n++) {
            long now = umem_add(&total, 1);
            CHECK(now > before); /* nobody else is told of this one */
            before = now;
        }
    } else {
        list[0] = make(SYSLET_NR_UMEM_ADD, SYSLET_SYNC, &before, &list[1]);
        arg(&list[0], 0, &at);
        arg(&list[0], 1, &one);
        list[1] = make(SYSLET_NR_UMEM_ADD, SYSLET_SYNC | SYSLET_STOP_ON_ZERO, NULL, &list[0]);
        arg(&list[1], 0, &counting);
        arg(&list[1], 1, &one);
        CHECK(async_exec(list, &head) == &list[1]);
        CHECK(before >= ADDS);
    }
    EQUAL(syslet_detach(), 0);
    return NULL;
}

/* umem_add adds in one step: none of them is lost. */
static void additions_at_once(void)
{
    pthread_t threads[SHARERS];
    reset();
    total = 0;
    for (long n = 0; n < SHARERS; n++)
        CHECK(pthread_create(&threads[n], NULL, adder, (void *)n) == 0);
    for (long n = 0; n < SHARERS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    EQUAL(total, SHARERS * ADDS);
}
