package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

// choicesInput asks for the values of a setting.
type choicesInput struct {
	ByKey
	Setting    string `path:"setting" doc:"The setting's key." example:"channel"`
	Connection string `query:"connection" doc:"The connection to ask with." example:"con_00u9pskqz6ds9"`
	Scope      string `query:"scope" doc:"The scope of the link that there is to be. Default: the connection's, or else the key's own." example:"acme/teams/1"`
	Search     string `query:"search" maxLength:"200" doc:"What a person has typed; without it the first values come."`
	Settings   string `query:"settings" doc:"What is known of the other settings, as a JSON object." example:"{}"`
	Link       string `query:"link" doc:"A stored link that is being changed: masks in the settings stand for its values."`
}

type choicesOutput struct{ Body page[integration.Choice] }

// choiceRoute registers GET /v1/integrations/{key}/choices/{setting}.
func (a *api) choiceRoute() {
	register(a, operation{id: "list-choices", method: http.MethodGet, path: "/v1/integrations/{key}/choices/{setting}", tag: tagIntegrations,
		summary:     "List the values of a setting",
		description: "Asks the partner what there is to choose from, for settings that say \"dynamic\": channels, repositories, projects. There is one page; a search finds what is not on it.",
		needs:       access.Manage, response: newPage([]integration.Choice{{Value: "C024BE91L", Title: "#develop", Help: "private"}}, "")}, a.listChoices)
}

func (a *api) listChoices(ctx context.Context, c *access.Caller, in *choicesInput) (*choicesOutput, error) {
	if _, err := a.integration(in.Key); err != nil {
		return nil, err
	}
	q := links.ChoiceInput{Search: in.Search, Settings: json.RawMessage(in.Settings)}
	if in.Connection != "" {
		q.Connection = &in.Connection
	}
	if in.Scope != "" {
		q.Scope = &in.Scope
	}
	if in.Link != "" {
		q.Link = new(patchbay.LinkID)
		if q.Link.UnmarshalText([]byte(in.Link)) != nil {
			return nil, patchbay.Invalid("link", "%q is not the identifier of a link", clip(in.Link))
		}
	}
	found, err := a.Links.Choices(ctx, c, in.Key, in.Setting, q)
	if err != nil {
		return nil, err
	}
	return &choicesOutput{newPage(found, "")}, nil
}
