package httpapi

import (
	"net/http"
	"path"
)

// router is a ServeMux that leaves unknown paths and wrong methods to one handler, so that they too are answered as
// the API answers.
type router struct {
	mux *http.ServeMux
	// known has the same routes without the catch-all. It is asked only when that was reached.
	known *http.ServeMux
	other http.HandlerFunc
}

func newRouter() *router {
	r := &router{mux: http.NewServeMux(), known: http.NewServeMux()}
	r.mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { r.other(w, req) })
	return r
}

// HandleFunc registers a handler for a pattern of http.ServeMux.
func (r *router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	r.mux.HandleFunc(pattern, h)
	r.known.HandleFunc(pattern, h)
}

// serve answers one request. The mux would redirect a path such as /v1//links to a clean one; a client that asks for
// such a path has a mistake that it should hear of.
func (r *router) serve(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != path.Clean(req.URL.Path) {
		r.other(w, req)
		return
	}
	r.mux.ServeHTTP(w, req)
}

// allowed returns the methods that the request's path knows, as the Allow header spells them; "" when the path itself
// is unknown.
func (r *router) allowed(req *http.Request) string {
	h, pattern := r.known.Handler(req)
	if pattern != "" { // a redirect to a clean path
		return ""
	}
	probe := headerOnly{}
	h.ServeHTTP(probe, req)
	return http.Header(probe).Get("Allow")
}

// headerOnly is a response of which only the header counts.
type headerOnly http.Header

// Header implements http.ResponseWriter.
func (h headerOnly) Header() http.Header { return http.Header(h) }

// Write drops the body.
func (h headerOnly) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader drops the status.
func (h headerOnly) WriteHeader(int) {}

// trackingWriter knows whether an answer has begun.
type trackingWriter struct {
	http.ResponseWriter
	begun  bool
	status int // of the answer; 200 until it is said otherwise
}

// WriteHeader notes that the answer begins.
func (w *trackingWriter) WriteHeader(status int) {
	w.begun, w.status = true, status
	w.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer begins.
func (w *trackingWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *trackingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
