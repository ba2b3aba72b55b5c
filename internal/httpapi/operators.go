package httpapi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// healthAnswer is what /healthz answers when all is well.
type healthAnswer struct {
	Status string `json:"status" enum:"ok"`
}

// readyAnswer is what /readyz answers when all is well.
type readyAnswer struct {
	Status string `json:"status" enum:"ok"`
	Node   *int   `json:"node,omitempty" doc:"The number of the node that answered, where several share a database."`
}

// operatorRoutes registers what those need who run the installation.
func (a *api) operatorRoutes() {
	d := a.document
	ok := jsonResponse("All is well.", schemaOf[healthAnswer](d), healthAnswer{"ok"})
	a.plain(&huma.Operation{OperationID: "health", Method: http.MethodGet, Path: "/healthz", Summary: "Is the process alive?", Tags: []string{tagOperators},
		Security: d.open(), Responses: map[string]*huma.Response{"200": ok}}, a.health)
	a.plain(&huma.Operation{OperationID: "ready", Method: http.MethodGet, Path: "/readyz", Summary: "Can it take events?", Tags: []string{tagOperators},
		Security: d.open(), Responses: map[string]*huma.Response{"200": jsonResponse("It can.", schemaOf[readyAnswer](d), readyAnswer{"ok", new(int)}), "503": jsonResponse("It cannot; error says why.", schemaOf[problem](d), exampleUnavailable)}}, a.ready)
	text := func(kind string) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{kind: {Schema: &huma.Schema{Type: huma.TypeString}}}
	}
	a.plain(&huma.Operation{OperationID: "metrics", Method: http.MethodGet, Path: "/metrics", Summary: "Metrics for Prometheus", Tags: []string{tagOperators},
		Description: "Needs the permission `read` on the whole installation.", Security: d.withKey(),
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: text("text/plain")}}}, a.metrics)
	browser := append(d.withKey(), map[string][]string{"password": {}})
	a.plain(&huma.Operation{OperationID: "openapi", Method: http.MethodGet, Path: "/openapi.json", Summary: "This document", Tags: []string{tagOperators}, Security: browser,
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}}}}, a.forBrowsers(a.openAPI))
	a.plain(&huma.Operation{OperationID: "docs", Method: http.MethodGet, Path: "/docs", Summary: "This document as a page", Tags: []string{tagOperators}, Security: browser,
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: text("text/html")}}}, a.forBrowsers(a.docs))
	d.spec.Components.SecuritySchemes["password"] = &huma.SecurityScheme{Type: "http", Scheme: "basic", Description: "An API key as the password, for browsers; the name does not matter."}
	a.router.HandleFunc("GET /docs/rapidoc.js", a.forBrowsers(a.docsScript))
}

func (a *api) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, healthAnswer{"ok"})
}

// ready is open, so it says no more than what is written for callers; the rest is logged.
func (a *api) ready(w http.ResponseWriter, r *http.Request) {
	err := a.Ready(r.Context())
	if err == nil {
		a.unready.Store(nil)
		writeJSON(w, http.StatusOK, readyAnswer{"ok", a.Node})
		return
	}
	var own *patchbay.Error
	reason := "something is wrong; the log says what"
	switch {
	case errors.As(err, &own):
		reason = own.Message
	case errors.Is(err, store.ErrUnavailable):
		reason = store.ErrUnavailable.Error()
	case errors.Is(err, store.ErrClosed):
		reason = store.ErrClosed.Error()
	}
	// Probes come every few seconds: what they find is logged when it changes.
	text := err.Error()
	if last := a.unready.Swap(&text); last == nil || *last != text {
		a.Log.WarnContext(r.Context(), "not ready", "error", err)
	}
	a.fail(w, r, &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "not ready: " + reason})
}

// metrics answers a scrape. The figures are about all tenants.
func (a *api) metrics(w http.ResponseWriter, r *http.Request) {
	c, err := a.Access.Caller(r.Header)
	if err == nil {
		err = c.Require(access.Read)
	}
	if err == nil {
		err = c.Reach("")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.Metrics.Handler().ServeHTTP(w, r)
}

// forBrowsers asks for an API key the way that a browser understands.
func (a *api) forBrowsers(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Access.Browser(r.Header); err != nil {
			p := a.problem(r.Context(), r.Method, r.URL.Path, err)
			if p.header != nil {
				p.header.Set("Www-Authenticate", `Basic realm="Patchbay: any name, and an API key as the password", charset="UTF-8"`)
			}
			a.write(w, p)
			return
		}
		serve(w, r)
	}
}

func (a *api) openAPI(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	_, _ = w.Write(a.document.json) // an error means that the caller is gone
}

// rapidoc is RapiDoc's script as it is published, compressed; see assets/README.md.
//
//go:embed assets/rapidoc-min.js.gz
var rapidoc []byte

// docsPolicy lets the page load what is served here and nothing else. RapiDoc styles its elements inline.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const docsPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Patchbay API</title>
<script type="module" src="/docs/rapidoc.js"></script>
<rapi-doc spec-url="/openapi.json" render-style="read" show-header="false" allow-server-selection="false"
  allow-spec-url-load="false" allow-spec-file-load="false" load-fonts="false" theme="light" primary-color="#0b5fff"
  schema-description-expanded="true" persist-auth="false" sort-endpoints-by="none"></rapi-doc>
</html>
`

func (a *api) docs(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h["Cache-Control"] = noStore
	_, _ = io.WriteString(w, docsPage) // an error means that the caller is gone
}

func (a *api) docsScript(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "private, max-age=86400")
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(rapidoc)
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(rapidoc))
	if err != nil {
		panic(err) // recovered, logged and answered; a test unpacks it
	}
	_, _ = io.Copy(w, z)
}
