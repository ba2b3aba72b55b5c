package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
)

// TestClassify is the table that hosted APIs share.
func TestClassify(t *testing.T) {
	for status := 100; status < 600; status++ {
		r := Classify("The service", &Response{Status: status, Body: []byte("b"), RetryAfter: time.Minute})
		verdict, code := patchbay.VerdictRejected, patchbay.CodeMisconfiguredIntegration
		switch status {
		case 408, 425, 429:
			verdict, code = patchbay.VerdictRetry, patchbay.CodeServiceError
		case 401, 402, 403, 404, 405, 407, 410, 501, 505:
			code = patchbay.CodeUserConfigurationError
		default:
			switch status / 100 {
			case 2:
				verdict, code = patchbay.VerdictDelivered, ""
			case 3:
				code = patchbay.CodeUserConfigurationError
			case 5:
				verdict, code = patchbay.VerdictRetry, patchbay.CodeServiceError
			}
		}
		if r.Verdict != verdict || r.Type != code || r.Code != status || string(r.Body) != "b" {
			t.Errorf("%d: got %s, %s, code %d", status, r.Verdict, r.Type, r.Code)
		}
		if (r.Error == "") != (verdict == patchbay.VerdictDelivered) || r.Error != "" && !strings.Contains(r.Error, "The service") {
			t.Errorf("%d: the sentence is %q", status, r.Error)
		}
		if (r.RetryAfter != 0) != (verdict == patchbay.VerdictRetry) || r.Throttled != (status == 429) || r.Disable != (status == 410) {
			t.Errorf("%d: got %+v", status, r)
		}
	}
}

// TestWith keeps a pause that the integration chose itself.
func TestWith(t *testing.T) {
	r := Retry("busy")
	r.RetryAfter = time.Second
	if got := r.With(&Response{RetryAfter: time.Hour}); got.RetryAfter != time.Second {
		t.Errorf("got %v", got.RetryAfter)
	}
	if got := r.With(nil); got.Code != 0 || got.RetryAfter != time.Second {
		t.Errorf("got %+v", got)
	}
}

// TestUnreachable says what becomes of requests without an answer.
func TestUnreachable(t *testing.T) {
	for _, test := range []struct {
		err     error
		verdict patchbay.Verdict
		code    patchbay.Code
		want    string
	}{
		{fmt.Errorf("dialling 10.0.0.1: %w", ErrRefused), patchbay.VerdictRejected, patchbay.CodeUserConfigurationError, "the target is not allowed"},
		{fmt.Errorf("reading: %w", context.DeadlineExceeded), patchbay.VerdictRetry, patchbay.CodeServiceError, "Slack did not answer in time"},
		{fmt.Errorf("reading: %w", os.ErrDeadlineExceeded), patchbay.VerdictRetry, patchbay.CodeServiceError, "Slack did not answer in time"},
		{io.ErrUnexpectedEOF, patchbay.VerdictRetry, patchbay.CodeServiceError, "Slack could not be reached: unexpected EOF"},
		{context.Canceled, patchbay.VerdictRetry, patchbay.CodeServiceError, "could not be reached"},
		{ErrPreview, patchbay.VerdictRetry, patchbay.CodeServiceError, "nothing was sent"},
	} {
		r := Unreachable("Slack", test.err)
		if r.Verdict != test.verdict || r.Type != test.code || !strings.Contains(r.Error, test.want) {
			t.Errorf("%v: got %s, %s, %q", test.err, r.Verdict, r.Type, r.Error)
		}
	}
}

// TestResults shows the four other beginnings of a result.
func TestResults(t *testing.T) {
	for _, test := range []struct {
		got  Result
		code patchbay.Code
	}{
		{UserError("no %s", "x"), patchbay.CodeUserConfigurationError},
		{Misconfigured("no %s", "x"), patchbay.CodeMisconfiguredIntegration},
		{Unrenderable(errors.New("no x")), patchbay.CodeMisconfiguredIntegration},
	} {
		if test.got.Verdict != patchbay.VerdictRejected || test.got.Type != test.code || !strings.HasSuffix(test.got.Error, "no x") {
			t.Errorf("got %+v", test.got)
		}
	}
	if r := Delivered(); r.Verdict != patchbay.VerdictDelivered || r.Type != "" || r.Error != "" {
		t.Errorf("got %+v", r)
	}
}

// TestHeader shows that names are found however they are spelled.
func TestHeader(t *testing.T) {
	var h Header
	h.Add("X-One", "1")
	h.Add("x-one", "2")
	h.Set("X-ONE", "3")
	h.Set("X-Two", "4")
	if h.Get("x-One") != "3" || h.Get("X-Two") != "4" || h.Get("X-Three") != "" || len(h) != 3 {
		t.Errorf("got %v", h)
	}
}
