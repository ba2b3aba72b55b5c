// Package all lists every integration that Patchbay brings. A new one is one line here.
package all

import (
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integrations/email"
	"github.com/patchbay/patchbay/integrations/github"
	hipchat "github.com/patchbay/patchbay/integrations/hip_chat"
	"github.com/patchbay/patchbay/integrations/inbox"
	"github.com/patchbay/patchbay/integrations/incoming"
	"github.com/patchbay/patchbay/integrations/jira"
	pivotaltracker "github.com/patchbay/patchbay/integrations/pivotal_tracker"
	"github.com/patchbay/patchbay/integrations/slack"
	"github.com/patchbay/patchbay/integrations/webhook"
)

// Integrations returns them in the order in which they are shown.
func Integrations() []integration.Integration {
	return []integration.Integration{
		webhook.New(), incoming.New(), slack.New(), email.New(), github.New(), jira.New(), pivotaltracker.New(), hipchat.New(), inbox.New(),
	}
}
