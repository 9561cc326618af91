package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/status"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string
)

// view is what the page shows.
type view struct {
	Title    string
	Node     status.Node
	NotReady []string
	Stacks   []status.Stack // held and failed first
}

// parsePage returns the page's template and the content security policy that goes with it: nothing is loaded and nothing
// runs but this one style sheet, which is known by its hash. A page that escaped a name badly would still run no script.
func parsePage() (*template.Template, string, error) {
	t, err := template.New("page").Parse(strings.Replace(pageText, "STYLE", pageStyle, 1))
	if err != nil {
		return nil, "", fmt.Errorf("parse page: %w", err)
	}
	sum := sha256.Sum256([]byte(pageStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return t, policy, nil
}

// status page: held and failed stacks first, with the cause.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	v := view{Node: s.opts.Source.Status()}
	v.Title = "brambled on " + v.Node.Node
	if err := s.opts.Source.Ready(); err != nil {
		v.NotReady = append(v.NotReady, err.Error())
	}
	v.Stacks = slices.Clone(v.Node.Stacks)
	slices.SortStableFunc(v.Stacks, func(a, b status.Stack) int { return cmp.Compare(rank(a.State), rank(b.State)) })
	if worst, found := status.Worst([]status.Node{v.Node}, ""); found && worst != status.Converged {
		v.Title = string(worst) + ": " + v.Title // seen in the browser's tab
	}
	var body bytes.Buffer
	if err := s.template.Execute(&body, v); err != nil {
		s.opts.Log.Error("render page", zap.Error(err))
		http.Error(w, "the page cannot be shown; see the log of brambled", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(body.Bytes()) // the client may be gone
}

func rank(s status.State) int { return slices.Index(status.States(), s) }
