/* What the three servers share: listening, and the answer to a request. HTTP/1.0, GET, files of one folder. */
#ifndef WEB_H
#define WEB_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REQUEST = 4096 };

/* Listens on a port of 127.0.0.1 (0: any) and says which. */
static inline int listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    socklen_t length = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    signal(SIGPIPE, SIG_IGN);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 512) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        perror("listening");
        exit(2);
    }
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Opens the file that a request asks for and writes the answer's head; the file, or -1. */
static inline int open_for(int folder, char *request, char *head, size_t size, off_t *length)
{
    struct stat stat;
    char *path = request + 5, *end = strchr(path < request + strlen(request) ? path : request, ' ');
    int file = -1;
    *length = 0;
    if (strncmp(request, "GET /", 5) == 0 && end) {
        *end = 0;
        if (!strstr(path, "..") && path[0] != '/')
            file = openat(folder, path, O_RDONLY | O_CLOEXEC);
    }
    if (file >= 0 && (fstat(file, &stat) < 0 || !S_ISREG(stat.st_mode))) {
        close(file);
        file = -1;
    }
    if (file >= 0)
        *length = stat.st_size;
    snprintf(head, size, "HTTP/1.0 %s\r\nContent-Length: %lld\r\n\r\n",
             file < 0 ? "404 Not Found" : "200 OK", (long long)*length);
    return file;
}

#endif
