/* One table for close reasons, one for connections that never got that far. */
#include "engine/engine_reason.h"

struct row {
	const char *code;
	struct engine_reason reason;
};

/* The engine's own words, before the "#". */
static const struct row closes[] = {
    {"ws.eviction", {ENGINE_EVICTED, "another runner has registered with this runner key"}},
    {"ws.going_away", {ENGINE_RETRY, "the engine is being stopped or restarted"}},
    {"ws.closed", {ENGINE_RETRY, NULL}},
    {"ws.connection_closed", {ENGINE_RETRY, NULL}},
    {"core.internal_error",
     {ENGINE_RETRY, "the engine gave this connection up: no pong in time, or a fault of its own"}},
    {"ws.invalid_packet", {ENGINE_RETRY, "the engine refused a message of ours"}},
    {"ws.invalid_initial_packet", {ENGINE_RETRY_SLOW, "the engine refused our first message"}},
    {"ws.timed_out_waiting_for_init", {ENGINE_RETRY, "our first message did not reach the engine in time"}},
    {"ws.invalid_url", {ENGINE_RETRY_SLOW, "the engine refused our address"}},
    {"namespace.not_found",
     {ENGINE_RETRY_SLOW, "the engine has no such namespace: create it, or correct engine.namespace (RIVET_NAMESPACE)"}},
    {"guard.missing_header", {ENGINE_RETRY_SLOW, "the engine wants a token: set RIVET_TOKEN or engine.token_file"}},
    {"api.forbidden", {ENGINE_RETRY_SLOW, "the engine refuses the token: correct RIVET_TOKEN or engine.token_file"}},
    {"guard.must_use_regional_host",
     {ENGINE_RETRY_SLOW, "this address is of no datacenter: use a datacenter's own in engine.endpoint (RIVET_ENGINE)"}},
    {"guard.websocket_not_supported",
     {ENGINE_RETRY_SLOW, "the path is not the engine's: correct engine.endpoint (RIVET_ENGINE)"}},
    {"guard.rate_limit", {ENGINE_RETRY, "too many connections from this address"}},
};

static const struct engine_reason unsupported = {
    ENGINE_UNSUPPORTED, "the engine does not speak version 7 of the runner protocol: use 2.1.7 or later"};
static const struct engine_reason other_close = {ENGINE_RETRY, NULL};
static const struct engine_reason http_auth = {
    ENGINE_RETRY_SLOW, "something before the engine refuses us: correct RIVET_TOKEN or engine.endpoint (RIVET_ENGINE)"};

/* By enum ws_client_why. */
static const struct engine_reason failures[] = {
    [WS_CLIENT_RESOLVE] = {ENGINE_RETRY, "correct engine.endpoint (RIVET_ENGINE), or the name service of this machine"},
    [WS_CLIENT_CONNECT] = {ENGINE_RETRY, "start the engine, or correct engine.endpoint (RIVET_ENGINE)"},
    [WS_CLIENT_TLS] = {ENGINE_RETRY, "engine.endpoint (RIVET_ENGINE) says https; use http where it is not spoken"},
    [WS_CLIENT_CERTIFICATE] =
	{ENGINE_RETRY, "correct engine.endpoint (RIVET_ENGINE), or name the engine's authority in engine.ca_file "
		       "(RIVET_ENGINE_CA)"},
    [WS_CLIENT_UPGRADE] = {ENGINE_RETRY, "no Rivet Engine answers there: correct engine.endpoint (RIVET_ENGINE)"},
    [WS_CLIENT_PROTOCOL] = {ENGINE_RETRY, NULL},
    [WS_CLIENT_TIMEOUT] = {ENGINE_RETRY, NULL},
    [WS_CLIENT_CLOSED] = {ENGINE_RETRY, NULL},
    [WS_CLIENT_LOST] = {ENGINE_RETRY, NULL},
};

struct slice engine_reason_code(struct slice reason)
{
	return slice_head(reason, slice_find(reason, '#'));
}

const struct engine_reason *engine_reason_of(const struct ws_client_end *end, bool welcomed)
{
	if (end->why == WS_CLIENT_UPGRADE && (end->status == 401 || end->status == 403))
		return &http_auth;
	if (end->why != WS_CLIENT_CLOSED)
		return &failures[end->why];
	struct slice code = engine_reason_code(end->reason);
	if (!welcomed && slice_is(code, "ws.invalid_packet"))
		return &unsupported;
	for (size_t i = 0; i < ARRAY_SIZE(closes); i++) {
		if (slice_is(code, closes[i].code))
			return &closes[i].reason;
	}
	return &other_close;
}
