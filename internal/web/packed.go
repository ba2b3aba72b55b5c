package web

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"sync"
)

// packFrom is the size from which a page is worth compressing: less fits into one packet anyway.
const packFrom = 1400

// packers are compressors that wait for their next page: one takes a megabyte to make.
var packers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.DefaultCompression)
	if err != nil {
		panic(err) // the level is one of the package's own
	}
	return z
}}

// send answers with a page, compressed where the browser can read that. A page that shows a secret is not: how small it gets
// says something about what stands in it, to whoever can have words of their own put beside it and watches the line
// (BREACH, https://www.breachattack.com). No other page holds a secret, not even a token of a form.
func (c *call) send(status int, page []byte, secret bool) {
	h := c.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Encoding")
	if !secret && len(page) >= packFrom && acceptsGzip(c.r) {
		var b bytes.Buffer
		z := packers.Get().(*gzip.Writer)
		z.Reset(&b)
		_, err := z.Write(page)
		if err == nil {
			err = z.Close()
		}
		packers.Put(z)
		if err == nil { // writing to memory does not fail, and if it did the page would still be there
			h.Set("Content-Encoding", "gzip")
			page = b.Bytes()
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(page)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(page) // an error means that the browser is gone
}
