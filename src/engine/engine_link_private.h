/* What the files of the link know of each other. */
#pragma once

#include "engine/engine_link.h"
#include "engine/engine_reason.h"
#include "engine/engine_window.h"
#include "io/timer.h"
#include "io/tls.h"

#define ENGINE_LINK_MAGIC 0x656c6e6bu
#define ENGINE_LINK_SAID 8 /* distinct failures told since it was online */

enum engine_link_state {
	LINK_OFFLINE,    /* waits to connect */
	LINK_CONNECTING, /* up to the open WebSocket */
	LINK_WAIT_INIT,  /* ours is sent */
	LINK_ONLINE,
	LINK_DRAINING,  /* online, stopping is announced */
	LINK_FINISHING, /* our close frame is out */
	LINK_OVER,      /* evicted, failed or finished: never again */
	LINK_CLOSED,    /* engine_link_close was called */
	LINK_STATES
};

enum engine_link_event {
	LINK_DIAL, /* the back-off is over */
	LINK_OPEN, /* the WebSocket is open */
	LINK_INIT, /* ToClientInit */
	LINK_DOWN, /* the socket ended */
	LINK_EVICT,
	LINK_REFUSE,   /* no protocol in common */
	LINK_STOPPING, /* asked by the owner, as the rest */
	LINK_FINISH,
	LINK_RESYNC,
	LINK_EVENTS
};

/* When the engine gives us up (engine_link_lost.c). */
struct engine_lost {
	bool armed, soon_told;
	int64_t heard_mono_ms;     /* the last ping or Init, when it was sent as far as can be told */
	int64_t threshold_ms;      /* the engine's */
	int64_t ping_mono_ms;      /* arrival of the last ping; 0: none on this connection */
	int64_t ping_ts, stale_ms; /* the engine's clock in it; how late it was */
	struct timer timer;
};

struct engine_link {
	uint32_t magic;
	enum engine_link_state state;
	struct loop *loop;
	const struct engine_link_events *events;
	void *arg;
	/* What is said, made once. */
	char *host, *place; /* place: the URL for the log */
	uint16_t port;
	char *target, *subprotocols;
	char *namespace_name, *runner, *runner_key;
	struct buf init; /* ToServerInit */
	struct tls_context *tls;
	/* The socket. */
	struct ws_client *ws; /* NULL: none */
	size_t n_sockets;     /* with those that are closing */
	int64_t dial_mono_ms; /* when the attempt began */
	int64_t open_mono_ms; /* when it was open */
	char ray[64];         /* the engine's name for this connection; "" unknown */
	struct engine_window window;
	bool wants_room;      /* a send was refused */
	bool last_look;       /* the time for Init or ping is over, but for what is in the socket */
	bool bad_told;        /* an undecodable frame was logged on this connection */
	uint64_t unsure_from; /* read by the engine when the link was last lost */
	struct list kept;     /* answers it may not have read (engine_link_keep.c) */
	size_t kept_bytes;
	struct timer mark; /* the last frames have no mark behind them */
	struct buf small;  /* pongs and the like being made */
	struct timer wait; /* back-off; Init; silence: by state */
	struct timer stopping;
	/* The runner. */
	char runner_id[64]; /* "" : none, or lost */
	struct engine_lost lost;
	unsigned attempt; /* failed in a row */
	unsigned
	    unwelcomed; /* of the last attempts, in a row, those that became a WebSocket and nothing more in time */
	bool ever_online;
	int64_t resync_mono_ms; /* the last; 0: none */
	/* What is told outside of the owner's calls. */
	struct loop_task task;
	bool stop_asked, resync_asked, finish_asked;
	struct timer settle; /* before it connects afresh */
	/* What the log has. */
	char *said[ENGINE_LINK_SAID];
	size_t n_said;
	char *why_not;
	struct engine_link_stats stats;
};

/* ---- engine_link.c ---- */

/* The one place where the state changes. May end in any event of the owner, closing included. */
void engine_link_step(struct engine_link *l, enum engine_link_event ev);

/* Timers and tasks; nothing is armed. */
void engine_link_init(struct engine_link *l);
/* Connecting afresh was asked for: does so when the engine has read what it was sent, or the time for that is over. */
void engine_link_settle(struct engine_link *l);
/* The engine is alive: a ping, or its welcome. */
void engine_link_heard(struct engine_link *l);
/* How long the attempt that begins now may take to connect, and then to become a WebSocket. */
int64_t engine_link_patience_ms(const struct engine_link *l);
/* Of the socket. */
void engine_link_on_ended(void *arg, const struct ws_client_end *end);
void engine_link_on_closed(void *arg);

/* ---- engine_link_open.c ---- */

/* Nothing is open or armed. */
void engine_link_free(struct engine_link *l);

/* ---- engine_link_socket.c ---- */

void engine_link_dial(struct engine_link *l);
void engine_link_on_mark(void *arg);
/* Drops the socket, if any, without a word. */
void engine_link_drop(struct engine_link *l);
/* Sends a message of the link's own, before everything else. */
void engine_link_say(struct engine_link *l, struct slice frame);
/* Encodes one without body. */
void engine_link_say_stopping(struct engine_link *l);

/* ---- engine_link_keep.c ---- */

/* A frame was sent; kept if it may be sent again. */
void engine_link_keep(struct engine_link *l, struct slice frame);
/* The engine has read more. */
void engine_link_keep_read(struct engine_link *l);
/* Sends what is kept, again. */
void engine_link_keep_again(struct engine_link *l);
void engine_link_keep_none(struct engine_link *l);

/* ---- engine_link_lost.c ---- */

void engine_lost_init(struct engine_link *l);
/* The engine welcomed us on a connection that was open at that time. */
void engine_lost_welcome(struct engine_link *l, int64_t open_mono_ms, int64_t threshold_ms);
/* A ping came. */
void engine_lost_ping(struct engine_link *l, int64_t ts);
/* The socket is gone: from here on nothing but the time counts. */
void engine_lost_offline(struct engine_link *l);
void engine_lost_disarm(struct engine_link *l);

/* ---- engine_link_say.c: what the log and whoever asks are told ---- */

void engine_link_say_online(struct engine_link *l, bool same_runner);
/* A connection ended and will be tried again in wait_ms. */
void engine_link_say_down(struct engine_link *l, const struct ws_client_end *end, const struct engine_reason *r,
			  int64_t wait_ms);
void engine_link_say_over(struct engine_link *l, const char *why_not);
void engine_link_say_done(struct engine_link *l);
