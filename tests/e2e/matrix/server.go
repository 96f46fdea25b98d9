// Go's net/http: on descriptor 3 when one was handed over, else on 127.0.0.1:$PORT.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

type requestsKey struct{}

func listen() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") != "" {
		return net.FileListener(os.NewFile(3, "http"))
	}
	return net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
}

func large(w http.ResponseWriter, r *http.Request) {
	block := make([]byte, 65536)
	for i := range block {
		block[i] = byte(i % 251)
	}
	for i := 0; i < 512; i++ {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func main() {
	listener, err := listen()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from net/http, x=%s", r.URL.Query().Get("x"))
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		data, _ := io.ReadAll(r.Body)
		w.Write(data)
	})
	http.HandleFunc("/large", large)
	http.HandleFunc("/digest", func(w http.ResponseWriter, r *http.Request) {
		found := sha256.New()
		io.Copy(found, r.Body)
		fmt.Fprintf(w, "%x", found.Sum(nil))
	})
	http.HandleFunc("/connection", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, *r.Context().Value(requestsKey{}).(*int))
	})
	server := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, requestsKey{}, new(int))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			*r.Context().Value(requestsKey{}).(*int)++
			http.DefaultServeMux.ServeHTTP(w, r)
		}),
	}
	log.Fatal(server.Serve(listener))
}
