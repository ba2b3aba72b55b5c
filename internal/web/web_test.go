package web_test

import (
	"testing"

	"github.com/patchbay/patchbay/internal/web"
)

func TestNewRefusesWhatIsIncomplete(t *testing.T) {
	if _, err := web.New(web.Options{}); err == nil {
		t.Fatal("a site without services was made")
	}
}
