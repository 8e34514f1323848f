// All members of a room in one process: joins them, then reads and counts every frame. Its answers are one line each.
//
// drain PORT PATH MEMBERS ENVELOPE: with ENVELOPE 1 frames carry Socket.IO's packets, with 0 nothing but the event.
// "EVENTS\n" on standard input: count so many for each member, then say when the last byte came, and what was counted.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 64           // connections in the middle of their handshake
#define EVENTS_READ 512      // of epoll, at once
#define STANDARD_INPUT UINT32_MAX
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="            // RFC 6455 section 1.3, with the answer that it calls for
#define ANSWER "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum stage { CONNECTING, SHAKING_HANDS, OPEN };
enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct member {
  int fd;
  enum stage stage;
  int joined;
  unsigned char head[10];  // of the frame under way
  int head_length;
  uint64_t left;           // bytes of its payload to come
  uint64_t length;
  unsigned char first[2];  // bytes of its payload: a Socket.IO packet's kind
  char answer[1024];
  int answer_length;
  long frames;
  long bytes;
};

static struct member *members;
static int count, poller, envelope, started, joined;
static struct sockaddr_in server;
static char request[1024];
static int request_length;
static long wanted, seen, reads;  // events a member, frames of all, calls of recv

static void fail(const char *what) {
  fprintf(stderr, "%s: %s, %d of %d joined, %ld frames\n", what, strerror(errno), joined, count, seen);
  exit(1);
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static void watch(int how, struct member *member, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u32 = member - members};
  if (epoll_ctl(poller, how, member->fd, &event)) fail("epoll_ctl");
}

static void begin(void) {
  struct member *member = &members[started++];
  member->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (member->fd < 0) fail("socket");
  if (connect(member->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) fail("connect");
  watch(EPOLL_CTL_ADD, member, EPOLLOUT);
}

static void say(struct member *member, enum opcode opcode, const char *text, int length) {
  unsigned char frame[6 + 125] = {0x80 | opcode, 0x80 | length};  // masked with zeros
  memcpy(frame + 6, text, length);
  if (send(member->fd, frame, 6 + length, MSG_NOSIGNAL) != 6 + length) fail("send");
}

static void note_joined(struct member *member) {
  if (member->joined) return;
  member->joined = 1;
  if (++joined == count) {
    printf("JOINED\n");
    fflush(stdout);
  } else if (started < count) {
    begin();
  }
}

static void report(void) {
  double at = seconds_now();
  long least = members[0].frames, most = least, bytes = 0;
  for (int i = 0; i < count; i++) {
    if (members[i].frames < least) least = members[i].frames;
    if (members[i].frames > most) most = members[i].frames;
    bytes += members[i].bytes;
  }
  printf("COUNTED %.9f %ld %ld %ld %ld %ld\n", at, seen, least, most, bytes, reads);
  fflush(stdout);
}

static void count_frame(struct member *member) {
  member->frames++;
  member->bytes += member->head_length + member->length;
  if (++seen == wanted * count) report();
}

static void end_frame(struct member *member) {
  int opcode = member->head[0] & 15;
  const unsigned char *first = member->first;
  if (opcode == CLOSE) fail("a Close frame came");
  if (opcode == PING) say(member, PONG, "", 0);
  if (opcode == TEXT || opcode == BINARY) {
    if (!envelope || (first[0] == '4' && first[1] == '2')) count_frame(member);
    else if (first[0] == '0') say(member, TEXT, "40", 2);
    else if (first[0] == '4' && first[1] == '0') note_joined(member);
    else if (first[0] == '2') say(member, TEXT, "3", 1);
    else fail("an unknown packet came");
  }
  member->head_length = 0;
}

static int head_needed(struct member *member) {
  if (member->head_length < 2) return 2;
  int length = member->head[1] & 127;
  return length == 126 ? 4 : length == 127 ? 10 : 2;
}

static void begin_payload(struct member *member) {
  uint64_t length = member->head[1] & 127;
  if (length >= 126) {
    length = 0;
    for (int i = 2; i < member->head_length; i++) length = length << 8 | member->head[i];
  }
  member->left = member->length = length;
}

static void feed(struct member *member, const unsigned char *data, long size) {
  while (size > 0) {
    if (member->left == 0) {
      while (size > 0 && member->head_length < head_needed(member)) {
        member->head[member->head_length++] = *data++;
        size--;
      }
      if (member->head_length < head_needed(member)) return;
      begin_payload(member);
      if (member->left == 0) end_frame(member);
      continue;
    }
    uint64_t at = member->length - member->left;
    for (; at < 2 && at < member->length && (long)at - (long)(member->length - member->left) < size; at++)
      member->first[at] = data[at - (member->length - member->left)];
    long taken = (uint64_t)size < member->left ? size : (long)member->left;
    data += taken;
    size -= taken;
    member->left -= taken;
    if (member->left == 0) end_frame(member);
  }
}

// Bytes of the answer in `data`; the rest are frames already.
static long shake_hands(struct member *member, const unsigned char *data, long size) {
  for (long i = 0; i < size; i++) {
    if (member->answer_length == sizeof member->answer - 1) fail("too long an answer to the handshake");
    member->answer[member->answer_length++] = data[i];
    if (member->answer_length < 4 || memcmp(member->answer + member->answer_length - 4, "\r\n\r\n", 4)) continue;
    if (memcmp(member->answer, "HTTP/1.1 101", 12) || !strstr(member->answer, ANSWER)) fail(member->answer);
    member->stage = OPEN;
    if (!envelope) note_joined(member);
    return i + 1;
  }
  return size;
}

static void read_some(struct member *member) {
  static unsigned char buffer[1 << 18];
  errno = 0;
  long size = recv(member->fd, buffer, sizeof buffer, 0), used = 0;
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) fail("a connection was lost");
  reads++;
  if (member->stage == SHAKING_HANDS) used = shake_hands(member, buffer, size);
  feed(member, buffer + used, size - used);
}

static void ask(struct member *member) {
  if (send(member->fd, request, request_length, MSG_NOSIGNAL) != request_length) fail("the handshake was not sent");
  member->stage = SHAKING_HANDS;
  watch(EPOLL_CTL_MOD, member, EPOLLIN);
}

static void take_order(void) {
  char line[64];
  long size = read(0, line, sizeof line - 1);
  if (size <= 0) exit(0);
  line[size] = 0;
  if (seen != wanted * count) fail("more or fewer frames than asked for");
  wanted = atol(line);
  seen = reads = 0;
  for (int i = 0; i < count; i++) members[i].frames = members[i].bytes = 0;
  printf("READY\n");
  fflush(stdout);
}

int main(int arguments, char **values) {
  if (arguments != 5) return 2;
  int port = atoi(values[1]);
  count = atoi(values[3]);
  envelope = atoi(values[4]);
  members = calloc(count, sizeof *members);
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  request_length = snprintf(request, sizeof request,
      "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n", values[2], port);
  poller = epoll_create1(0);
  struct epoll_event orders = {.events = EPOLLIN, .data.u32 = STANDARD_INPUT};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &orders)) fail("epoll_ctl");
  while (started < count && started < AT_ONCE) begin();
  for (;;) {
    struct epoll_event events[EVENTS_READ];
    int ready = epoll_wait(poller, events, EVENTS_READ, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u32 == STANDARD_INPUT) take_order();
      else if (members[events[i].data.u32].stage == CONNECTING) ask(&members[events[i].data.u32]);
      else read_some(&members[events[i].data.u32]);
    }
  }
}
