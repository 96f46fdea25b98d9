/* Names of the unions' members, in the order of their tags. */
#pragma once

static const char *const to_server_names[] = {"ToServerInit",         "ToServerEvents", "ToServerAckCommands",
					      "ToServerStopping",     "ToServerPong",   "ToServerKvRequest",
					      "ToServerTunnelMessage"};
static const char *const to_client_names[] = {"ToClientInit",       "ToClientCommands",      "ToClientAckEvents",
					      "ToClientKvResponse", "ToClientTunnelMessage", "ToClientPing"};
static const char *const event_names[] = {"EventActorIntent", "EventActorStateUpdate", "EventActorSetAlarm"};
static const char *const intent_names[] = {"ActorIntentSleep", "ActorIntentStop"};
static const char *const state_names[] = {"ActorStateRunning", "ActorStateStopped"};
static const char *const stop_code_names[] = {"Ok", "Error"};
static const char *const command_names[] = {"CommandStartActor", "CommandStopActor"};
static const char *const up_names[] = {
    "ToServerResponseStart",    "ToServerResponseChunk",       "ToServerResponseAbort", "ToServerWebSocketOpen",
    "ToServerWebSocketMessage", "ToServerWebSocketMessageAck", "ToServerWebSocketClose"};
static const char *const down_names[] = {"ToClientRequestStart",  "ToClientRequestChunk",     "ToClientRequestAbort",
					 "ToClientWebSocketOpen", "ToClientWebSocketMessage", "ToClientWebSocketClose"};
static const char *const query_names[] = {"KvListAllQuery", "KvListRangeQuery", "KvListPrefixQuery"};
static const char *const kv_op_names[] = {"KvGetRequest",    "KvListRequest",        "KvPutRequest",
					  "KvDeleteRequest", "KvDeleteRangeRequest", "KvDropRequest"};
static const char *const kv_answer_names[] = {"KvErrorResponse", "KvGetResponse",    "KvListResponse",
					      "KvPutResponse",   "KvDeleteResponse", "KvDropResponse"};
