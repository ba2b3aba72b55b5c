package markup

import (
	"testing"

	"github.com/patchbay/patchbay"
)

func TestDescribe(t *testing.T) {
	m := &patchbay.Message{
		Title: "not repeated",
		Text:  "Run [7](<https://e.com/7>) failed\\!\n",
		Fields: []patchbay.Field{
			{Title: "Environment", Value: "QA \\*1\\*"},
			{Title: "Said *by*\nher", Value: "two\nlines"},
		},
		Links: []patchbay.URL{
			{Title: "in the text already", URL: "https://e.com/7"},
			{Title: "Open", URL: "https://e.com/a?b=1&c=2"}, {Title: "Again", URL: "https://e.com/a?b=1&c=2"},
			{Title: "no link", URL: "javascript:x"},
		},
	}
	const want = "Run 7 (https://e.com/7) failed!\n\nEnvironment: QA *1*\nSaid *by* her: two\nlines\n\n" +
		"Open (https://e.com/a?b=1&c=2)"
	if got := Text(Describe(m)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Text(Describe(&patchbay.Message{Title: "It *works*\n!"})); got != "It *works* !" {
		t.Errorf("a message with nothing below its title is described as %q", got)
	}
}
