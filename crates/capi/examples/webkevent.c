/* webkevent PORT FOLDER - the same server as webepoll, on an event queue in memory. */
#define _GNU_SOURCE
#include "web.h"

#include <errno.h>
#include <syslet/kevent.h>

struct connection {
    int socket, file;
    size_t have, head_size, head_sent;
    off_t length, done;
    char request[REQUEST], head[128];
};

static int folder, queue;

/* Adds a socket, to be told of each change. What is ready now is told, too. */
static int watch(int socket, unsigned int events, void *ptr)
{
    struct ukevent entry = {.id = {.raw = {(uint32_t)socket, 0}}, .type = KEVENT_SOCKET, .event = events,
                            .req_flags = KEVENT_REQ_ET | KEVENT_REQ_ALWAYS_QUEUE, .ptr = ptr};
    return kevent_ctl(queue, KEVENT_CTL_ADD, 1, &entry);
}

static void drop(struct connection *c)
{
    struct ukevent entry = {.id = {.raw = {(uint32_t)c->socket, 0}}, .type = KEVENT_SOCKET};
    kevent_ctl(queue, KEVENT_CTL_REMOVE, 1, &entry);
    if (c->file >= 0)
        close(c->file);
    close(c->socket);
    free(c);
}

static int would_wait(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* Sends what there is room for; nonzero once it is over. */
static int send_some(struct connection *c)
{
    while (c->head_sent < c->head_size) {
        ssize_t put = write(c->socket, c->head + c->head_sent, c->head_size - c->head_sent);
        if (put < 0)
            return !would_wait();
        c->head_sent += (size_t)put;
    }
    while (c->done < c->length) {
        ssize_t put = sendfile(c->socket, c->file, &c->done, (size_t)(c->length - c->done));
        if (put <= 0)
            return put == 0 || !would_wait();
    }
    return 1;
}

/* Reads what is there; nonzero once there is nothing more to be done. */
static int receive_some(struct connection *c)
{
    for (;;) {
        ssize_t got = read(c->socket, c->request + c->have, REQUEST - 1 - c->have);
        if (got < 0)
            return !would_wait();
        if (got == 0)
            return 1;
        c->have += (size_t)got;
        c->request[c->have] = 0;
        if (strstr(c->request, "\r\n\r\n"))
            break;
        if (c->have == REQUEST - 1)
            return 1;
    }
    c->file = open_for(folder, c->request, c->head, sizeof c->head, &c->length);
    c->head_size = strlen(c->head);
    return send_some(c);
}

static void accept_all(int listener)
{
    int socket;
    while ((socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (c) {
            c->socket = socket;
            c->file = -1;
        }
        if (!c || watch(socket, KEVENT_SOCKET_RECV | KEVENT_SOCKET_SEND, c) != 0) {
            free(c);
            close(socket);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: webkevent PORT FOLDER\n");
        return 2;
    }
    folder = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        perror(argv[2]);
        return 2;
    }
    int listener = listen_on(argv[1]);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    queue = kevent_init(NULL, 0, 0);
    if (queue < 0 || watch(listener, KEVENT_SOCKET_ACCEPT, NULL) != 0) {
        fprintf(stderr, "webkevent: no queue\n");
        return 2;
    }
    struct timespec long_enough = {.tv_sec = 3600};
    struct ukevent events[64];
    for (;;) {
        int count = kevent_get_events(queue, 1, 64, long_enough, events, 0);
        for (int n = 0; n < count; n++) {
            struct connection *c = events[n].ptr;
            if (!c)
                accept_all(listener);
            else if (c->head_size ? send_some(c) : receive_some(c))
                drop(c);
        }
    }
}
