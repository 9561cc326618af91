package consultest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// maxOps is the most operations Consul takes in one transaction.
const maxOps = 128

// txnKV is one KV operation of a transaction.
type txnKV struct {
	Verb    string
	Key     string
	Value   []byte
	Flags   uint64
	Index   uint64
	Session string
}

type txnResult struct{ KV *Pair }

type txnError struct {
	OpIndex int
	What    string
}

type txnReply struct {
	Results []txnResult
	Errors  []txnError
}

// txn does all operations or none: the world they were tried on is dropped when one is refused.
func (s *Server) txn(w http.ResponseWriter, r *http.Request) {
	var ops []struct{ KV *txnKV }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxValue)).Decode(&ops); err != nil {
		http.Error(w, "Failed to parse body: "+err.Error(), http.StatusBadRequest)
		return
	}
	if len(ops) > maxOps {
		http.Error(w, "Transaction contains too many operations", http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.world.begin()
	var out txnReply
	for i, op := range ops {
		if op.KV == nil {
			http.Error(w, "consultest models KV operations only", http.StatusBadRequest)
			return
		}
		pairs, err := next.apply(*op.KV)
		if err != nil {
			out.Errors = append(out.Errors, txnError{OpIndex: i, What: err.Error()})
			continue
		}
		for _, p := range pairs {
			if read := strings.HasPrefix(op.KV.Verb, "get"); read && s.filtered(p.Key) != nil {
				continue // Consul says nothing of what a token may not read
			}
			if op.KV.Verb != "get" && op.KV.Verb != "get-or-empty" && op.KV.Verb != "get-tree" {
				p.Value = nil
			}
			out.Results = append(out.Results, txnResult{p})
		}
	}
	w.Header().Set("X-Consul-KnownLeader", "true")
	w.Header().Set("X-Consul-LastContact", "0")
	if len(out.Errors) > 0 {
		out.Results = nil
		reply(w, http.StatusConflict, out)
		return
	}
	if next.tableIndex != s.world.tableIndex {
		s.commit(next)
	}
	reply(w, http.StatusOK, out)
}
