package app

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integrations/github"
)

// TestConfigErrorsNameTheKey: what is wrong in the configuration is called what it is called there.
func TestConfigErrorsNameTheKey(t *testing.T) {
	a := &App{integrations: map[string]integration.Integration{github.Key: github.New()}}
	a.config.Integrations = map[string]map[string]any{github.Key: {"client_ID": "x"}}
	_, err := a.configs()
	if err == nil || !strings.HasPrefix(err.Error(), "integrations.github.client_ID: is not a setting") {
		t.Errorf("got %v", err)
	}
}
