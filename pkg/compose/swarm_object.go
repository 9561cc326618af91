package compose

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/brambled/brambled/reconciler/spec"
)

// What Swarm takes as the content of one object, in bytes, and as its name (swarmkit, manager/controlapi: MaxConfigSize and
// MaxSecretSize, which content must be below; names have at most 64 characters).
const (
	maxConfig     = 1000 << 10
	maxSecret     = 500 << 10
	maxObjectName = 64
)

// secretsDir is where Swarm shows secrets whose target is relative.
const secretsDir = "/run/secrets"

// swarmFiles renders the configs and secrets of a Swarm service, and notes the objects they are.
func (r *render) swarmFiles(s types.ServiceConfig, at string) []spec.SwarmFile {
	var out []spec.SwarmFile
	targets := map[string]bool{}
	add := func(kind spec.ObjectKind, ref types.FileReferenceConfig, at, dir string, object string) {
		f := spec.SwarmFile{Kind: kind, Object: object, Target: cmp.Or(ref.Target, ref.Source), Mode: 0o444, UID: r.id(ref.UID, at, "uid"), GID: r.id(ref.GID, at, "gid")}
		if dir == secretsDir {
			f.Target = strings.TrimPrefix(f.Target, secretsDir+"/") // two ways of writing one place are one version
		}
		if ref.Mode != nil {
			f.Mode = uint32(*ref.Mode) & 0o777
		}
		if where := absolute(f.Target, dir); targets[where] {
			r.fault(at, "two files have the target "+where, "give one of them another target")
		} else {
			targets[where] = true
		}
		out = append(out, f)
	}
	for _, ref := range s.Configs {
		if object, ok := r.configObject(ref.Source, at+".configs"); ok {
			add(spec.ConfigObject, types.FileReferenceConfig(ref), at+".configs", "/", object)
		}
	}
	for _, ref := range s.Secrets {
		if object, ok := r.secretObject(ref.Source, at+".secrets"); ok {
			add(spec.SecretObject, types.FileReferenceConfig(ref), at+".secrets", secretsDir, object)
		}
	}
	slices.SortFunc(out, func(a, b spec.SwarmFile) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Target, b.Target))
	})
	return out
}

// id is a numeric id as Swarm takes it; root's is left out, so that two ways of writing it are one.
func (r *render) id(s, at, key string) string {
	if n := r.number(s, at, key); n > 0 {
		return strconv.Itoa(n)
	}
	return ""
}

func (r *render) configObject(key, at string) (string, bool) {
	content, ok := r.config(key, at)
	if !ok || !r.forAll(r.p.Configs[key].Environment, "configs."+key+".environment") {
		return "", false
	}
	return r.object(spec.ConfigObject, key, "configs."+key, content, r.p.Configs[key].Labels, maxConfig), true
}

func (r *render) secretObject(key, at string) (string, bool) {
	content, ok := r.secret(key, at)
	if !ok || !r.forAll(r.p.Secrets[key].Environment, "secrets."+key+".environment") {
		return "", false
	}
	return r.object(spec.SecretObject, key, "secrets."+key, content, r.p.Secrets[key].Labels, maxSecret), true
}

// forAll refuses the value of a variable that differs from node to node.
func (r *render) forAll(variable, at string) bool {
	if variable == "" || !r.differs(variable) {
		return true
	}
	r.found = append(r.found, r.ofOneNode(at, variable))
	return false
}

// object notes a config or a secret, and returns its name in Swarm. The hash in it covers all that the object is: Swarm
// cannot change the content of one, and tasks of the version before still need theirs for a rollback.
func (r *render) object(kind spec.ObjectKind, key, at string, content []byte, labels types.Labels, limit int) string {
	o := spec.SwarmObject{Kind: kind, Key: key, Labels: r.labels(labels, at), Content: content}
	r.stackLabels(labels, at)
	if len(content) == 0 || len(content) >= limit {
		r.fault(at, fmt.Sprintf("the %s has %d bytes; Swarm takes 1 to %d", kind, len(content), limit-1), "put large content into an image, and leave an empty file out")
	}
	o.Hash = spec.HashObject(r.name, o)
	o.Name = objectName(r.name, key, o.Hash)
	r.objects[string(kind)+" "+key] = o
	return o.Name
}

// objectName is <stack>_<key>_<hash>. A long one is cut in front of the hash, which covers stack and key as well.
func objectName(stack, key, hash string) string {
	_, sum, _ := strings.Cut(hash, ":")
	sum = sum[:12]
	name := stack + "_" + key
	return name[:min(len(name), maxObjectName-len(sum)-1)] + "_" + sum
}
