package web

import (
	"cmp"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog"
)

// catalogPage lists the event types, by where they come from.
type catalogPage struct {
	Title, Query string
	Groups       []catalogGroup
	// All is how many types there are, whatever is searched for.
	All int
	// Static says that the page is a file: nothing answers a form.
	Static bool
}

// catalogGroup are the types of one catalog, or of one integration.
type catalogGroup struct {
	// ID is the heading's, Integration the key of the one that brings the types in.
	ID, Title, About, Integration string
	Types                         []catalogItem
}

type catalogItem struct {
	Key, Title, Description, Href string
	Aliases                       []string
	// Added says that it was added through the API.
	Added bool
	// Words are what the search looks at.
	Words string
}

// typePath is the address of a type's page. A key that would be something else in a path is asked for by its name.
func typePath(key string) string {
	p := "/catalog/" + key
	if path.Clean(p) != p {
		return link("/catalog", "type", key)
	}
	return p // keys hold nothing that a path would have to escape
}

// catalogList shows the event types that there are.
func (c *call) catalogList() error {
	if key := c.r.FormValue("type"); key != "" {
		return c.showType(key)
	}
	body := &catalogPage{Title: "Event types", Query: strings.TrimSpace(c.r.FormValue("q"))}
	body.Groups, body.All = c.typeGroups(c.o.Catalog.Types(), body.Query, typePath)
	return c.show(http.StatusOK, "catalog", &page{Title: body.Title, Nav: "catalog", Body: body})
}

// typeGroups sorts types by where they come from: those of catalog files first, then what was added, then what each
// integration brings in, and what is always there at the end. all is how many there are, whatever is searched for.
func (s *Site) typeGroups(types []*catalog.Type, query string, href func(string) string) (groups []catalogGroup, all int) {
	words := strings.Fields(strings.ToLower(query))
	ranks := map[string]int{}
	for _, t := range types {
		g, rank := s.groupFor(t)
		item := catalogItem{
			Key: t.Key(), Title: t.Title(), Description: t.Spec().Description, Aliases: t.Spec().Aliases, Href: href(t.Key()), Added: t.FromAPI(),
		}
		item.Words = strings.ToLower(strings.Join(append([]string{item.Key, item.Title, item.Description, g.Title}, item.Aliases...), " "))
		if all++; slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(item.Words, w) }) {
			continue
		}
		at := slices.IndexFunc(groups, func(have catalogGroup) bool { return have.Title == g.Title })
		if at < 0 {
			at = len(groups)
			groups, ranks[g.Title] = append(groups, g), rank
		}
		groups[at].Types = append(groups[at].Types, item)
	}
	slices.SortStableFunc(groups, func(a, b catalogGroup) int { return cmp.Compare(ranks[a.Title], ranks[b.Title]) })
	for i := range groups {
		groups[i].ID = "group-" + string(rune('a'+i%26)) + strings.Repeat("-", i/26)
	}
	return groups, all
}

// groupFor says where a type comes from, and how far down the list that is.
func (s *Site) groupFor(t *catalog.Type) (g catalogGroup, rank int) {
	switch origin := t.Spec().Origin; origin {
	case catalog.OriginAPI:
		return catalogGroup{Title: "Added here", About: "Through the API"}, 1
	case catalog.OriginIntegration:
		if key := s.bringer(t.Key()); key != "" {
			return catalogGroup{Title: s.titleOf(key), About: "What it brings in", Integration: key}, 2
		}
		return catalogGroup{Title: "Integrations", About: "What they bring in"}, 3
	case catalog.OriginBuiltin:
		return catalogGroup{Title: "Always there", About: "About links and connections, and the test"}, 4
	default:
		return catalogGroup{Title: fileTitle(origin)}, 0
	}
}

// bringer is the integration that brings a type in; "" when none does.
func (s *Site) bringer(key string) string {
	for _, i := range s.o.Integrations {
		d := i.Definition()
		if slices.ContainsFunc(d.Types, func(t patchbay.EventType) bool { return t.Key == key }) {
			return d.Key
		}
	}
	return ""
}

// fileTitle makes a heading of a catalog file's name: "our_shop.yaml" is "Our shop".
func fileTitle(name string) string {
	title := strings.TrimSpace(strings.NewReplacer("_", " ", "-", " ").Replace(strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml")))
	first, size := utf8.DecodeRuneInString(title)
	if title == "" {
		return name
	}
	return string(unicode.ToUpper(first)) + title[size:]
}
