package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed static
var static embed.FS

// assets are the files that pages refer to. Their address holds a hash of them all, so that browsers may keep them for
// ever and still see a new version at once.
type assets struct {
	prefix string
	files  map[string]asset
}

type asset struct {
	kind          string
	plain, zipped []byte
}

// kinds are the types of files that are served; there are no others.
var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2",
	".txt": "text/plain; charset=utf-8",
}

// loadAssets reads the embedded files and adds the stylesheet of the portals' theme.
func loadAssets(theme string) (*assets, error) {
	entries, err := static.ReadDir("static")
	if err != nil {
		return nil, fmt.Errorf("web: the assets cannot be read: %w", err)
	}
	a := &assets{files: map[string]asset{}}
	sum := sha256.New()
	add := func(name string, content []byte) error {
		kind := kinds[path.Ext(name)]
		if kind == "" {
			return fmt.Errorf("web: the asset %s is of no type that is served", name)
		}
		file := asset{kind: kind, plain: content}
		if path.Ext(name) != ".woff2" { // which is compressed
			if file.zipped, err = compress(content); err != nil {
				return err
			}
		}
		a.files[name] = file
		fmt.Fprintf(sum, "%s %d ", name, len(content))
		sum.Write(content)
		return nil
	}
	for _, e := range entries {
		content, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("web: the asset %s cannot be read: %w", e.Name(), err)
		}
		if err := add(e.Name(), content); err != nil {
			return nil, err
		}
	}
	if err := add("theme.css", []byte(theme)); err != nil {
		return nil, err
	}
	a.prefix = "/assets/" + hex.EncodeToString(sum.Sum(nil)[:8]) + "/"
	return a, nil
}

func compress(content []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// address returns where a file is.
func (a *assets) address(name string) (string, error) {
	if _, ok := a.files[name]; !ok {
		return "", fmt.Errorf("there is no asset %q", name)
	}
	return a.prefix + name, nil
}

// ServeHTTP answers with a file. One that is asked for by the hash of another version is answered with what there is now,
// and not kept: while versions change, a page of the old one may ask the new one.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	file, ok := a.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", file.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if r.URL.Path == a.prefix+name {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	content := file.plain
	if file.zipped != nil && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		content = file.zipped
	}
	_, _ = w.Write(content) // an error means that the browser is gone
}

func acceptsGzip(r *http.Request) bool {
	return slices.ContainsFunc(strings.Split(r.Header.Get("Accept-Encoding"), ","), func(part string) bool {
		coding, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		return coding == "gzip" && strings.TrimSpace(quality) != "q=0"
	})
}
