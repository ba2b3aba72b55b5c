package route

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/patchbay/patchbay"
)

// worlds are the shapes that an index takes. In each exactly one link wants the event.
var worlds = []struct {
	name string
	link func(i int) *Link
}{
	{"spread over scopes", func(i int) *Link {
		return &Link{Scope: patchbay.Scope(fmt.Sprintf("acme/repos/%d", i)), Reach: patchbay.ReachSubtree, Events: []patchbay.Pattern{"repo.push"}}
	}},
	{"one scope, other types", func(i int) *Link {
		return &Link{Scope: "acme", Reach: patchbay.ReachSubtree, Events: []patchbay.Pattern{patchbay.Pattern(fmt.Sprintf("repo.type%d", i))}}
	}},
	{"one scope, other stars", func(i int) *Link {
		return &Link{Scope: "acme", Reach: patchbay.ReachSubtree, Events: []patchbay.Pattern{patchbay.Pattern(fmt.Sprintf("other%d.*", i))}}
	}},
}

func fill(x *Index, n int, link func(i int) *Link) {
	for i := range n {
		l := link(i)
		l.ID, l.State, l.Integration = patchbay.LinkID(i+1), patchbay.LinkActive, "webhook"
		x.Put(l)
	}
	x.Put(&Link{ID: patchbay.LinkID(n + 1), Scope: "acme/repos", Reach: patchbay.ReachChildren,
		Events: []patchbay.Pattern{"repo.push"}, State: patchbay.LinkActive, Integration: "webhook", Slot: "one"})
}

func BenchmarkMatch(b *testing.B) {
	for _, w := range worlds {
		for _, n := range []int{10, 1_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", w.name, n), func(b *testing.B) {
				var x Index
				fill(&x, n, w.link)
				event := &patchbay.Event{Type: "repo.push", Scope: "acme/repos/none", Payload: []byte(`{}`)}
				names := []string{"repo.push", "RepoPushEvent"}
				b.ReportAllocs()
				for b.Loop() {
					e := Event{Event: event, Names: names}
					if r := x.Match(&e, nil); len(r.Matched) != 1 {
						b.Fatalf("%d links matched", len(r.Matched))
					}
				}
			})
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, w := range worlds {
		b.Run(w.name, func(b *testing.B) {
			var x Index
			fill(&x, 100_000, w.link)
			for i := range 1000 { // names for every bucket to remember
				x.Match(&Event{Event: &patchbay.Event{Type: fmt.Sprintf("repo.%d", i), Scope: "acme/repos/1"}}, nil)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l := w.link(50_000 + i%1000)
				l.ID, l.State = patchbay.LinkID(50_000+i%1000), patchbay.LinkActive
				x.Put(l)
			}
		})
	}
}

// payload1K is about what a repository's push looks like.
var payload1K = []byte(`{"name":"repo.push","utc_timestamp":"2026-11-22T02:50:00","server_url":"https://code.example.com",` +
	`"actor":{"user_id":2,"username":"ann","email":"ann@example.com","full_name":"Ann Example","is_admin":false},` +
	`"repo":{"repo_id":7,"repo_name":"group/web","repo_type":"git","url":"https://code.example.com/group/web"},` +
	`"commits":[{"raw_id":"5d1e0b8e1a0c","author":"Ann <ann@example.com>","message":"Fix the \"quoted\" thing\n\nIt was broken.",` +
	`"url":"https://code.example.com/group/web/changeset/5d1e0b8e1a0c"},{"raw_id":"6e2f1c9f2b1d","author":"Bob <bob@example.com>",` +
	`"message":"` + string(bytes.Repeat([]byte("words "), 30)) + `","url":"https://code.example.com/group/web/changeset/6e2f1c9f2b1d"}],` +
	`"size":1024,"branch":"main"}`)

func BenchmarkFilter(b *testing.B) {
	for _, expr := range []string{
		"payload.branch == 'main'",
		"payload.repo.repo_name.startsWith('group/') && payload.size > 1000",
		"payload.server_url.matches('^https://code[.]')",
		"payload.commits.exists(c, c.author.contains('ann@'))",
	} {
		b.Run(expr, func(b *testing.B) {
			f, err := CompileFilter(expr)
			if err != nil {
				b.Fatal(err)
			}
			event := &patchbay.Event{Type: "repo.push", Scope: "acme", Payload: payload1K}
			b.ReportAllocs()
			for b.Loop() {
				e := Event{Event: event}
				if ok, err := f.Eval(&e); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkCompileFilter(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CompileFilter("payload.branch == 'main'"); err != nil {
			b.Fatal(err)
		}
	}
}
