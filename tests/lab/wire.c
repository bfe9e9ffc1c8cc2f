// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One cable between two interfaces of a namespace: rate, delay, queue and a switch for silence,
 * each per direction, all changeable while it runs. Used because netem is missing on many kernels
 * and because a test wants to read what crossed the cable without asking anybody.
 *
 *     wire SETTINGS INTERFACE_A INTERFACE_B
 *
 * SETTINGS is a file that both sides map: lab/wire.py writes the knobs and reads the counters.
 * Direction 0 goes from A to B. The program prints "ready" and ends when its standard input does,
 * so that it never outlives the lab that started it.
 *
 * A frame that arrives takes length / rate on the cable after the one before it (dropped when that
 * means waiting longer than the queue), then travels for the delay, then leaves. Lengths are those
 * of tc: Ethernet frame without checksum, 1514 bytes at an MTU of 1500.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Mirrored by DIRECTION in lab/wire.py. Rates in bit/s (0: no limit), times in nanoseconds. */
struct direction {
	uint64_t rate, delay, queue, blackhole;                               /* written by the lab */
	uint64_t offered, frames, bytes, queue_drops, blackhole_drops, waiting; /* written here */
};

enum {
	FRAME = 2048,      /* room for one frame; jumbo frames are not carried */
	SLOTS = 1 << 14,   /* frames under way per direction: 1 Gbit/s * 200 ms of full frames */
	BATCH = 64,        /* frames per system call */
	TICK = 200 * 1000, /* ns slept between two looks while busy: bounds jitter and wake-ups */
};

struct cable {
	struct direction *knobs;
	int from, to;
	uint64_t free_at;  /* when the last accepted frame has left the sender */
	uint64_t last_out; /* when it arrives: frames never overtake each other */
	uint32_t head, tail;
	uint64_t due[SLOTS];
	uint16_t length[SLOTS];
	uint16_t slot[SLOTS];          /* where the n-th waiting frame lies */
	uint16_t spare[SLOTS], spares; /* a stack, so that a short queue stays in the cache */
	uint8_t (*frame)[FRAME];
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_interface(const char *name)
{
	int one = 1, room = 16 << 20;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_ll where = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(name),
	};
	if (fd < 0 || !where.sll_ifindex)
		die(name);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
	if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) ||
	    bind(fd, (struct sockaddr *)&where, sizeof where))
		die(name);
	return fd;
}

/* Take one frame that arrived now; its bytes are already in the top spare slot. */
static void accept_frame(struct cable *c, unsigned length, uint64_t now)
{
	struct direction *k = c->knobs;
	uint64_t start = c->free_at > now ? c->free_at : now;
	uint64_t out;

	k->offered += length;
	if (k->blackhole) {
		k->blackhole_drops++;
		return;
	}
	if (start - now > k->queue || c->spares <= BATCH) {
		k->queue_drops++;
		return;
	}
	c->free_at = k->rate ? start + length * 8000000000ull / k->rate : now;
	out = c->free_at + k->delay;
	if (out < c->last_out)
		out = c->last_out;
	c->last_out = out;
	c->due[c->tail % SLOTS] = out;
	c->length[c->tail % SLOTS] = length;
	c->slot[c->tail % SLOTS] = c->spare[--c->spares];
	c->tail++;
}

static int receive(struct cable *c)
{
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	uint16_t used[BATCH];
	uint64_t now;
	int n;

	memset(messages, 0, sizeof messages);
	for (int i = 0; i < BATCH; i++) {
		used[i] = c->spare[c->spares - 1 - i];
		parts[i] = (struct iovec){ c->frame[used[i]], FRAME };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(c->from, messages, BATCH, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return 0;
	now = now_ns();
	c->spares -= n;
	for (int i = 0; i < n; i++) {
		/* Put it on top: accept_frame() takes it from there, or leaves it as spare. */
		c->spare[c->spares++] = used[i];
		if (!(messages[i].msg_hdr.msg_flags & MSG_TRUNC))
			accept_frame(c, messages[i].msg_len, now);
	}
	return n == BATCH;
}

/* Let go what has arrived by now. */
static void deliver(struct cable *c)
{
	struct direction *k = c->knobs;
	uint64_t now = now_ns();

	while (c->head != c->tail && c->due[c->head % SLOTS] <= now) {
		struct mmsghdr messages[BATCH];
		struct iovec parts[BATCH];
		int n = 0, sent;

		memset(messages, 0, sizeof messages);
		for (; n < BATCH && c->head + n != c->tail; n++) {
			uint32_t at = (c->head + n) % SLOTS;
			if (c->due[at] > now)
				break;
			parts[n] = (struct iovec){ c->frame[c->slot[at]], c->length[at] };
			messages[n].msg_hdr.msg_iov = &parts[n];
			messages[n].msg_hdr.msg_iovlen = 1;
		}
		/* What was under way when the cable went silent is lost too. */
		sent = k->blackhole ? n : sendmmsg(c->to, messages, n, MSG_DONTWAIT);
		if (sent <= 0)
			sent = 1; /* the far interface is down: the frame is lost, as on a real cable */
		else if (!k->blackhole)
			for (int i = 0; i < sent; i++) {
				k->frames++;
				k->bytes += parts[i].iov_len;
			}
		if (k->blackhole)
			k->blackhole_drops += sent;
		for (int i = 0; i < sent; i++)
			c->spare[c->spares++] = c->slot[c->head++ % SLOTS];
	}
	k->waiting = c->tail - c->head;
}

static struct cable *new_cable(struct direction *knobs, int from, int to)
{
	struct cable *c = calloc(1, sizeof *c);
	if (!c || !(c->frame = mmap(NULL, (size_t)SLOTS * FRAME, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)))
		die("memory");
	c->knobs = knobs;
	c->from = from;
	c->to = to;
	for (int i = 0; i < SLOTS; i++)
		c->spare[c->spares++] = SLOTS - 1 - i;
	return c;
}

int main(int argc, char **argv)
{
	struct sched_param first = { .sched_priority = 5 };
	struct timespec tick = { .tv_nsec = TICK };
	struct direction *knobs;
	struct cable *cables[2];
	int a, b, file;

	if (argc != 4) {
		fprintf(stderr, "usage: wire SETTINGS INTERFACE_A INTERFACE_B\n");
		return 2;
	}
	file = open(argv[1], O_RDWR | O_CLOEXEC);
	knobs = file < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof *knobs, PROT_READ | PROT_WRITE,
					     MAP_SHARED, file, 0);
	if (knobs == MAP_FAILED)
		die(argv[1]);
	a = open_interface(argv[2]);
	b = open_interface(argv[3]);
	cables[0] = new_cable(&knobs[0], a, b);
	cables[1] = new_cable(&knobs[1], b, a);

	/* A cable does not slow down because the routers' processors are busy. */
	sched_setscheduler(0, SCHED_FIFO, &first);
	puts("ready");
	fflush(stdout);

	struct pollfd wait[3] = { { a, POLLIN, 0 }, { b, POLLIN, 0 }, { 0, POLLIN, 0 } };
	for (;;) {
		uint64_t now, next = UINT64_MAX;
		struct timespec left, *timeout = NULL;
		int more = 0;

		for (int i = 0; i < 2; i++) {
			more |= receive(cables[i]);
			deliver(cables[i]);
			if (cables[i]->head != cables[i]->tail) {
				uint64_t due = cables[i]->due[cables[i]->head % SLOTS];
				if (due < next)
					next = due;
			}
		}
		if (more)
			continue;
		now = now_ns();
		if (next != UINT64_MAX && next < now + TICK) {
			if (ppoll(&wait[2], 1, &tick, NULL) > 0)
				return 0;
			continue;
		}
		if (next != UINT64_MAX) {
			left.tv_sec = (next - now) / 1000000000u;
			left.tv_nsec = (next - now) % 1000000000u;
			timeout = &left;
		}
		if (ppoll(wait, 3, timeout, NULL) < 0 && errno != EINTR)
			die("poll");
		if (wait[2].revents)
			return 0;
		/* An interface that was set down reports one error and then works again. */
		for (int i = 0; i < 2; i++)
			if (wait[i].revents & POLLERR) {
				int error;
				socklen_t size = sizeof error;
				getsockopt(wait[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
			}
	}
}
