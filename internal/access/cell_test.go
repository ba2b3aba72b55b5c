package access

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
)

func TestCell(t *testing.T) {
	eu := Cell{Serves: []patchbay.Pattern{"eu-*", "acme"}}
	for scope, served := range map[patchbay.Scope]bool{
		"": true, "eu-1": true, "eu-1/teams/7": true, "acme/repos": true, "us-1": false, "acme2": false, "x/eu-1": false,
	} {
		err := eu.Refuse(scope)
		if (err == nil) != served {
			t.Errorf("%q: %v, want served to be %t", scope, err, served)
		}
		if err != nil && !strings.Contains(err.Error(), "eu-*, acme") {
			t.Errorf("the error does not say who is served: %v", err)
		}
		if err := (Cell{}).Refuse(scope); err != nil {
			t.Errorf("an installation for everybody refuses %q: %v", scope, err)
		}
	}
}
