"""A shared counter with a live audience: every kind of call a RivetKit client can make.

    rivet-runnerd --foreground --actor demo -- /usr/bin/python3 demo.py
"""

import json

from rivetkit_json import Actor, ActorError, Response, action, serve


class Demo(Actor):
    def on_start(self):
        start = self.input.get("start", 0) if isinstance(self.input, dict) else 0
        self.count = int(self.kv_get("count") or start)

    def on_connect(self, connection):
        if isinstance(connection.params, dict) and connection.params.get("ticket") == "void":
            raise ActorError("no_ticket", "This ticket is void.", {"ticket": "void"})

    @action
    def increment(self, connection, by=1):
        self.count += by
        self.kv_put("count", str(self.count).encode())
        self.broadcast("newCount", self.count, by)
        return self.count

    @action
    def get(self, connection):
        return self.count

    @action
    def echo(self, connection, *args):
        return list(args)

    @action
    def nothing(self, connection):
        pass

    @action
    def who(self, connection):
        return {"id": self.id, "name": self.name, "key": self.key, "generation": self.generation,
                "input": self.input, "params": connection.params, "audience": len(self.connections)}

    @action
    def whisper(self, connection, text):
        """Sends an event to the caller alone."""
        connection.send("whisper", text)

    @action
    def refuse(self, connection, reason):
        raise ActorError("refused", f"Refused: {reason}", {"reason": reason, "count": self.count})

    @action
    def fail(self, connection):
        raise KeyError("a secret of the actor")

    @action
    def destroy(self, connection):
        self.request_destroy()

    def on_request(self, request):
        said = {"method": request.method, "path": request.path, "query": request.query,
                "custom": request.headers.get("x-custom"), "body": request.body.decode()}
        return Response(json.dumps(said), 201 if request.method == "POST" else 200,
                        {"Content-Type": "application/json", "x-count": str(self.count)})

    def on_websocket(self, web_socket, path):
        web_socket.send(json.dumps({"path": path, "actor": self.id}))
        while (message := web_socket.receive()) is not None:
            if message == "bye":
                web_socket.close(4001, "so long")
                return
            web_socket.send(message)


if __name__ == "__main__":
    serve(Demo)
