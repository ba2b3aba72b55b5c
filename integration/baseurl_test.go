package integration

import "testing"

func TestCheckBaseURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://jira.example.com":        true,
		"https://example.com/jira/":       true,
		"https://example.com/jira?":       false,
		"https://example.com/jira?a=b":    false,
		"https://example.com/#":           false,
		"https://me:secret@example.com/":  false,
		"https://example.com/%zz":         false,
		"http://127.0.0.1:8080/jira/path": true,
	} {
		if err := CheckBaseURL(text); (err == nil) != ok {
			t.Errorf("CheckBaseURL(%q) = %v, want ok %v", text, err, ok)
		}
	}
	if CheckBaseURL(int64(1)) == nil {
		t.Error("a number passed as a base URL")
	}
}

func TestJoinURLKeepsSegmentsWhole(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{JoinURL("https://h/", "rest", "api"), "https://h/rest/api"},
		{JoinURL("https://h//", "a/b?c#d"), "https://h/a%2Fb%3Fc%23d"},
		{JoinURL("https://h/x", "..", "."), "https://h/x/%2E%2E/%2E"},
		{JoinURL("https://h"), "https://h"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
