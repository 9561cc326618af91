// Named answers each request, whatever its method and path, with the name it was given: a server behind a proxy under test.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: named NAME PORT")
	}
	answer := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Args[1]) }
	server := &http.Server{Addr: ":" + os.Args[2], Handler: http.HandlerFunc(answer), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
