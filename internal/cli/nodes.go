package cli

import (
	"fmt"
	"strconv"

	"github.com/patchbay/patchbay/internal/console"
)

type nodesCmd struct{ connection }

// Run shows who shares the database, and what each holds.
func (c *nodesCmd) Run(p *program) error {
	api, err := c.dial(p)
	if err != nil {
		return err
	}
	nodes, err := api.Nodes(p.ctx)
	if err != nil || p.json {
		return err
	}
	styles := map[string]console.Style{"alive": console.Green, "silent": console.Yellow, "gone": console.Dim}
	rows := make([][]console.Cell, len(nodes.Data))
	for i, n := range nodes.Data {
		name := strconv.Itoa(n.Number)
		if n.Self {
			name += " *"
		}
		rows[i] = []console.Cell{
			{Text: name, Style: console.Bold}, {Text: n.State, Style: styles[n.State]}, {Text: n.Address}, {Text: n.Version},
			{Text: console.Ago(n.StartedAt, p.now())}, {Text: console.Ago(n.SeenAt, p.now()) + " ago", Style: console.Dim},
			{Text: strconv.Itoa(n.Shards)}, {Text: strconv.Itoa(n.InFlight)}, {Text: strconv.Itoa(n.Ready)}, {Text: strconv.Itoa(n.OpenBreakers)},
		}
	}
	p.table("There are no nodes.", []string{"NODE", "STATE", "ADDRESS", "VERSION", "UP", "SEEN", "SHARDS", "SENDING", "READY", "BREAKERS"}, rows)
	p.out.Printf("%s\n", p.out.Paint(console.Dim, fmt.Sprintf("* answered. %d deliveries wait in the queue.", nodes.Waiting)))
	return nil
}
