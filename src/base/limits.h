/* Every compile-time bound, with its reason. A bound that an operator may want
 * to move is a setting instead (app/config.def). */
#pragma once

/* HTTP, both as server and as client of workers. */
#define LIMIT_HTTP_HEAD_BYTES (32 * 1024)  /* request or status line with all fields */
#define LIMIT_HTTP_FIELDS 100              /* fields in a head */
#define LIMIT_HTTP_TARGET_BYTES (8 * 1024) /* public listeners; browsers and proxies stop there too */
#define LIMIT_RUNTIME_TARGET_BYTES \
	(24 * 1024) /* a 2046-byte key percent-encoded three times over, and a range of two */
#define LIMIT_HTTP_TRAILER_BYTES (8 * 1024)
#define LIMIT_HTTP_CHUNK_LINE_BYTES 256     /* chunk size with extensions, CVE-2024-22019 */
#define LIMIT_HTTP_EMPTY_LINES 4            /* before a request line; robustness, not a pastime */
#define LIMIT_HTTP_CONNECTION_NAMES 32      /* fields named in Connection; each is compared with all */
#define LIMIT_HTTP_INTERIM 32               /* 1xx answers before a final one */
#define LIMIT_HTTP_HEAD_MS (10 * 1000)      /* slow-head attack */
#define LIMIT_HTTP_IDLE_MS (75 * 1000)      /* keep-alive between requests */
#define LIMIT_HTTP_LINGER_MS 2000           /* reading what a refused client still sends, so that it sees the answer */
#define LIMIT_HTTP_HALF_CLOSE_MS 2000       /* silence after which a client that closed its sending side has left */
#define LIMIT_HTTP_STASH_BYTES (64 * 1024)  /* input behind the request at hand; then reading stops */
#define LIMIT_HTTP_DRAIN_BYTES (256 * 1024) /* of a body nobody wants, read to save the connection */
#define LIMIT_HTTP_REFUSED 64               /* connections over the bound being told 503 at once */
#define LIMIT_HTTP_CONNS 16384              /* client connections of one listener */

/* Streams. */
#define LIMIT_STREAM_READ_BYTES (64 * 1024)  /* one read */
#define LIMIT_STREAM_QUEUE_HIGH (256 * 1024) /* stop reading the other side above */
#define LIMIT_STREAM_QUEUE_LOW (64 * 1024)   /* read on below */
#define LIMIT_STREAM_QUEUE_MAX                                                                \
	(48 * 1024 * 1024) /* hard end: the writer ignored back-pressure; > one 32 MiB answer \
			    */

/* Bodies. */
#define LIMIT_API_BODY_BYTES (2 * 1024 * 1024)     /* REST calls, as the engine */
#define LIMIT_RUNTIME_BODY_BYTES (8 * 1024 * 1024) /* a full batch in base64 JSON, with room */
#define LIMIT_ENGINE_BODY_BYTES (20 * 1024 * 1024) /* the engine's bound on either body */

/* JSON of others; parsing recurses per level. */
#define LIMIT_JSON_BYTES LIMIT_RUNTIME_BODY_BYTES
#define LIMIT_JSON_DEPTH 64

/* Messages of the runner protocol. */
#define LIMIT_BARE_MAP_KEYS 4096 /* of one map: header fields, actor names; finding a key twice may be quadratic */

/* Workers. */
#define LIMIT_WORKER_CONNS 256    /* connections to one worker, WebSockets aside: those are LIMIT_EXCHANGES at most */
#define LIMIT_WORKER_QUEUE 4096   /* exchanges waiting for one of them */
#define LIMIT_WORKER_IDLE_MS 1000 /* servers close idle connections early; never reuse an older one */
#define LIMIT_WORKER_BACKLOG 1024
#define LIMIT_WORKER_RUNTIME_CALLS 256  /* runtime calls open per worker */
#define LIMIT_WORKER_RUNTIME_CONNS 1024 /* connections to one runtime socket */
#define LIMIT_ALARM_CALL_MS (60 * 1000)
#define LIMIT_OUTPUT_LINE_BYTES (8 * 1024) /* longer worker output is cut into several records */
#define LIMIT_OUTPUT_TAIL_LINES 20         /* stderr lines kept for the start failure message */
#define LIMIT_OUTPUT_TAIL_BYTES (4 * 1024)
#define LIMIT_OUTPUT_LINES_PER_S 2000 /* per worker; the rest is counted and said */
#define LIMIT_SANDBOX_RULES 4096      /* of one worker under Landlock; about 5 us each, at every start */
#define LIMIT_SOCKET_PATH_BYTES 107   /* sun_path */
#define LIMIT_RUNTIME_DIR_BYTES (LIMIT_SOCKET_PATH_BYTES - 27) /* below it: "/w-0123456789abcdef/runtime" */

#define LIMIT_EXIT_IDLE_MS (10 * 1000)         /* exit_when=idle: for the next request of a client that makes several */
#define LIMIT_LOG_KEPT_BYTES (4 * 1024 * 1024) /* records for rivet-runnerctl logs; touched as they come */

/* Metrics. */
#define LIMIT_METRIC_TYPES 64      /* actor types with series of their own, "other" included; the rest counts as that */
#define LIMIT_METRIC_PROCESSES 256 /* whose memory is measured for one scrape; each costs the loop some 10 us */

/* Actors. */
#define LIMIT_ACTORS 16384        /* not asleep at once */
#define LIMIT_ACTORS_PER_RUN 1024 /* that decide and act in one tick; a crash of all must not hold up the loop */
#define LIMIT_ACTOR_WAITING 1000  /* exchanges waiting for one actor */
#define LIMIT_CONTROL_ACTORS 999  /* in one list for an operator; one job of the store has 1000 rows */
#define LIMIT_ACTOR_KEEP_AWAKE 64 /* leases of one actor */
#define LIMIT_KEEP_AWAKE_MS (60 * 60 * 1000)
#define LIMIT_EXCHANGES 65536 /* requests and WebSockets in flight */
#define LIMIT_ACTOR_INPUT_BYTES (4 * 1024 * 1024)
#define LIMIT_ACTOR_KEY_BYTES 1024
#define LIMIT_ACTOR_NAME_BYTES 512
#define LIMIT_CREATE_AHEAD_MS 1000 /* a create_ts made unique is at most this far ahead of its time */

/* Key-value state: the engine's, in both modes. */
#define LIMIT_KV_KEY_BYTES 2046
#define LIMIT_KV_VALUE_BYTES 131072
#define LIMIT_KV_BATCH_KEYS 128
#define LIMIT_KV_BATCH_BYTES 999424 /* keys counted with 2 more each */
#define LIMIT_KV_LIST_ENTRIES 16384
#define LIMIT_KV_LIST_BYTES (4 * 1024 * 1024)

/* Store. */
#define LIMIT_STORE_QUEUE 65536 /* jobs waiting for the disk */
#define LIMIT_STORE_BATCH 1024  /* jobs in one transaction */
#define LIMIT_STORE_BATCH_BYTES (16 * 1024 * 1024)
#define LIMIT_STORE_LOG_FRAMES 4096 /* 16 MiB of write-ahead log, then it is copied into the database */
#define LIMIT_NAMESPACES 1000
#define LIMIT_POOLS 1000 /* of a namespace */

/* WebSockets. */
#define LIMIT_WS_MESSAGE_BYTES (32 * 1024 * 1024) /* the engine's bound on a message and a frame */
#define LIMIT_WS_CLOSE_MS 2000                    /* waiting for the peer's close frame */
#define LIMIT_WS_ACK_MS 5 /* for a frame to ride on; below the 4 ms of a tick it would cost an interrupt each time */
#define LIMIT_WS_ENGINE_MESSAGE_BYTES \
	(64 * 1024 * 1024) /* from an engine: a user's 32 MiB with its envelope, or a list of state */
#define LIMIT_WS_CLIENT_QUEUE_BYTES \
	(40 * 1024 *                \
	 1024) /* on the way to an engine: the largest answer and more; encrypted, it must fit the stream's bound */
#define LIMIT_RESOLVES 8 /* threads in the name service; it gives up by itself after half a minute */

/* Reloading. */
#define LIMIT_ROLL_OVER_FAILURES 3 /* failed starts in a row on new settings; then nobody else is restarted on them */
#define LIMIT_ACTOR_TYPES_OLD 1024 /* replaced types whose actors are not all gone; more reloads are refused */

/* Hibernating WebSockets. */
#define LIMIT_HIBERNATION_WAITING_BYTES (1024 * 1024) /* messages for no worker yet; then the client is not read */
#define LIMIT_HIBERNATION_DEPARTED 4096 /* clients that left while their actor slept; more are not reported */

/* Tunnel of an engine. An engine takes no stop for one client, so what cannot be passed on waits here. */
#define LIMIT_TUNNEL_FLOWS LIMIT_EXCHANGES
#define LIMIT_TUNNEL_BYTES (256 * 1024 * 1024)      /* bodies and messages of all actors */
#define LIMIT_TUNNEL_ACTOR_BYTES (96 * 1024 * 1024) /* of one: two largest bodies and a largest message */
#define LIMIT_TUNNEL_SOCKET_BYTES \
	(36 * 1024 * 1024)                   /* of one WebSocket towards its worker: a largest message and more */
#define LIMIT_TUNNEL_REPLY_BYTES (64 * 1024) /* short answers without a request of their own */
#define LIMIT_TUNNEL_NEWCOMER_MS 500         /* a predecessor's connection outlives our welcome by less */
#define LIMIT_TUNNEL_EARLY 4096              /* requests and WebSockets left to it meanwhile */
#define LIMIT_TUNNEL_READY_MS (30 * 1000)    /* waiting for a ready actor; the engine waits as long */

/* The link to an engine. */
#define LIMIT_LINK_INIT_MS 10000                /* from the open WebSocket to the engine's Init */
#define LIMIT_LINK_INIT_SOON_MS 4000            /* the same behind a loss: the way may have swallowed it */
#define LIMIT_LINK_INIT_SOON 2                  /* so many times in a row; then the engine may just be slow */
#define LIMIT_LINK_SILENCE_MS 8000              /* it pings every 3 s; leaves time to come back before LOST_SOON */
#define LIMIT_LINK_LAST_LOOK_MS 250             /* for what is in the socket before its silence counts */
#define LIMIT_LINK_SLOW_MS 30000                /* between attempts that only a person's change can help */
#define LIMIT_LINK_STEADY_MS 5000               /* online for less is not a success for the back-off */
#define LIMIT_LINK_STOPPING_MS 5000             /* it lets go of a runner 15 s after the last announcement */
#define LIMIT_LINK_RESYNC_MS 60000              /* what is under way is lost when connecting afresh */
#define LIMIT_LINK_RESYNC_WAIT_MS 1000          /* before that, for the engine to read what it was sent */
#define LIMIT_LINK_LOST_MARGIN_MS 1500          /* before the engine may start our actors elsewhere */
#define LIMIT_LINK_LOST_SOON_MS 3000            /* before that, for the workers to save what they must */
#define LIMIT_LINK_WINDOW 1000                  /* messages the engine is behind; its pong waits for them, 1 ms each */
#define LIMIT_LINK_WINDOW_MS 2000               /* likewise, measured */
#define LIMIT_LINK_MARK 100                     /* messages between two questions how far it is */
#define LIMIT_LINK_MARK_MS 100                  /* likewise, for the last of them */
#define LIMIT_LINK_KEEP_BYTES (8 * 1024 * 1024) /* answers it may not have read yet, to be sent again after a break */
#define LIMIT_LINK_MARK_BYTES (1024 * 1024)     /* likewise */
#define LIMIT_LINK_CONTROL_BYTES (4 * 1024 * 1024) /* on their way, when events too have to wait */

/* Actors of an engine. */
#define LIMIT_ENGINE_ACTORS (2 * LIMIT_ACTORS)     /* known: awake, or dead and remembered */
#define LIMIT_ENGINE_TOMBSTONES 4096               /* dead ones, so that a replayed command is told from a new one */
#define LIMIT_ENGINE_TOMBSTONE_MS (60 * 60 * 1000) /* no replay is older */
#define LIMIT_ENGINE_ACKS 16384                    /* ended incarnations whose commands are to be acknowledged */
#define LIMIT_ENGINE_ACK_MS 500                    /* from the last event until then */
#define LIMIT_ENGINE_EVENT_MS (10 * 1000)          /* an event without an answer is told again */
#define LIMIT_ENGINE_STOP_MS 3000                  /* draining: the engine's stop commands are waited for */
#define LIMIT_ENGINE_WHY_MS 1000                   /* asking why an actor is stopped must not hold its stop up */
#define LIMIT_ENGINE_GOODBYE_MS 1500               /* kept of the drain time for what the actors still have to say */
#define LIMIT_ENGINE_EVICTED_MS 1500               /* from an eviction to SIGKILL */

/* State calls to an engine, which handles one frame after another. */
#define LIMIT_ENGINE_KV_OPS 64                  /* under way */
#define LIMIT_ENGINE_KV_BYTES (4 * 1024 * 1024) /* likewise */
#define LIMIT_ENGINE_KV_WAITING 16384           /* behind those */
#define LIMIT_ENGINE_KV_WAITING_BYTES (64 * 1024 * 1024)
#define LIMIT_ENGINE_KV_FRAME_BYTES (2 * 1024 * 1024) /* a full batch with its envelope */
#define LIMIT_ENGINE_KV_MS (30 * 1000)                /* to the answer */
