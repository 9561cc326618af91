package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Schema is the version of the canonical form that hashes are made from. It stands in front of every hash. Raise it
// only when the same file must yield another hash: every container of every user is then replaced once.
const Schema = 1

// The labels on every object brambled makes. Their names never change.
const (
	LabelCluster = "brambled.cluster" // the owner: cluster id, or the static tier's
	LabelStack   = "brambled.stack"
	LabelService = "brambled.service"
	LabelReplica = "brambled.replica"
	LabelHash    = "brambled.hash" // "<schema>:<hex>"
	LabelNetwork = "brambled.network"
	LabelVolume  = "brambled.volume"
	LabelRestart = "brambled.restart" // the restart policy at create: "unless-stopped", "on-failure:3"
	LabelTried   = "brambled.tried"   // of a Swarm service: the hash of the version an update was last made to
)

// HashSchema returns the schema version a hash label was made under; 0 for a label that is no hash of ours.
func HashSchema(hash string) int {
	v, _, ok := strings.Cut(hash, ":")
	n, err := strconv.Atoi(v)
	if !ok || err != nil || n < 1 {
		return 0
	}
	return n
}

// hashed is the canonical form of a container: exactly what, when changed, needs a new one.
type hashed struct {
	Name     string        `json:"name,omitempty"`
	Image    string        `json:"image"`
	Platform string        `json:"platform,omitempty"`
	Body     Body          `json:"body"`
	Networks []Attachment  `json:"networks,omitempty"`
	Volumes  []VolumeMount `json:"volumes,omitempty"`
	Files    []File        `json:"files,omitempty"`
}

// HashContainer returns the versioned hash of what the container is made from. Pull policy, exclusive resources and
// all that derives from the hashed fields take no part.
func HashContainer(c Container) string {
	return digest(hashed{c.Name, c.Image, c.Platform, c.Body, c.Networks, c.Volumes, c.Files})
}

// HashNetwork returns the versioned hash of a network's definition.
func HashNetwork(n Network) string {
	n.Hash, n.Key = "", ""
	return digest(n)
}

// HashVolume returns the versioned hash of a volume's definition.
func HashVolume(v Volume) string {
	v.Hash, v.Key = "", ""
	return digest(v)
}

// FileDigest is the address of a config or secret in the file store: content and ownership, because two files of one
// content with different owners cannot be one file.
func FileDigest(content []byte, mode uint32, uid, gid int) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%o %d %d\n", mode, uid, gid)
	sum.Write(content)
	return hex.EncodeToString(sum.Sum(nil))[:40]
}

// digest hashes the JSON form, whose map keys encoding/json sorts.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("spec: hash %T: %v", v, err)) // only data types of this package come here
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%d:%s", Schema, hex.EncodeToString(sum[:])[:32])
}
