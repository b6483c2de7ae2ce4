package web

import (
	"context"
	"embed"
	"encoding/json"
	"net/http"
)

//go:embed status
var statusFiles embed.FS

// StatusPage serves, on a gateway's admin port, a page that shows an operator
// how the gateway does, and /status.json, which it reads every other second: what
// status gives, as JSON. It changes nothing.
func StatusPage(status func(context.Context) (any, error)) http.Handler {
	return serve(load(statusFiles, "status/index.html", "status/"), map[string]http.HandlerFunc{
		"/status.json": func(w http.ResponseWriter, r *http.Request) {
			now, err := status(r.Context())
			if err != nil {
				http.Error(w, "the status is not to be had: "+err.Error(), http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(now) // who asked has gone
		},
	})
}
