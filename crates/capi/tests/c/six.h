/* What the tests share: a call of six arguments that all differ, and is not the same without any one of them or with
 * two in each other's place: the second and third page of a file, mapped to a certain place. */
#ifndef SIX_H
#define SIX_H

#include <sys/mman.h>

struct six {
    unsigned long args[6]; /* of mmap */
    size_t page;
    int file;
};

static inline struct six six_begin(void)
{
    struct six made;
    made.page = (size_t)sysconf(_SC_PAGESIZE);
    made.file = memfd_create("six", 0);
    CHECK(made.file >= 0 && ftruncate(made.file, 3 * (off_t)made.page) == 0);
    CHECK(pwrite(made.file, "two", 4, (off_t)made.page) == 4);
    CHECK(pwrite(made.file, "three", 6, 2 * (off_t)made.page) == 6);
    void *place = mmap(NULL, 2 * made.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(place != MAP_FAILED);
    made.args[0] = (unsigned long)place;
    made.args[1] = 2 * made.page;
    made.args[2] = PROT_READ;
    made.args[3] = MAP_SHARED | MAP_FIXED;
    made.args[4] = (unsigned long)made.file;
    made.args[5] = made.page;
    return made;
}

/* Afterwards: what the call has answered. */
static inline void six_end(const struct six *made, long answer)
{
    const char *place = (const char *)made->args[0];
    EQUAL(answer, made->args[0]);
    CHECK(strcmp(place, "two") == 0);
    CHECK(strcmp(place + made->page, "three") == 0);
    CHECK(munmap((void *)made->args[0], made->args[1]) == 0);
    CHECK(close(made->file) == 0);
}

#endif
