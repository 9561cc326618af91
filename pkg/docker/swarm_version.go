package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	swarmapi "github.com/moby/moby/api/types/swarm"

	"github.com/brambled/brambled/reconciler/spec"
)

// When an update fails, Swarm puts the former version of the service back and drops the failed one from it (swarmkit,
// updater.rollbackUpdate: PreviousSpec becomes the Spec, and nothing PreviousSpec). Which version failed, so that it is not
// tried for ever, is then told by its tasks alone. So a container carries the hash of the version that its task's template
// came with. A version that changes nothing of the template (another count of replicas) keeps the former's, because another
// label would be another template, and every task would be replaced for nothing.
const (
	// labelVersion is of a task's container: the hash of the service's version that brought its template.
	labelVersion = "brambled.version"
	// labelTemplate is of a service: a digest of its template as it was asked for. What Swarm made of it is not compared.
	labelTemplate = "brambled.template"
)

// stamp labels a version that is to be made. former is the version it takes the place of; nil at create.
func stamp(s *swarmapi.ServiceSpec, hash string, former *swarmapi.ServiceSpec) error {
	digest, err := templateDigest(*s)
	if err != nil {
		return err
	}
	s.Labels[labelTemplate] = digest
	c := s.TaskTemplate.ContainerSpec
	if former != nil && former.Labels[labelTemplate] == digest && versionLabel(former.TaskTemplate) != "" {
		hash = versionLabel(former.TaskTemplate)
	}
	c.Labels = maps.Clone(c.Labels)
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	c.Labels[labelVersion] = hash
	return nil
}

// templateDigest covers what Swarm replaces tasks for. Constraints are left out: a task that meets the new ones stays.
func templateDigest(s swarmapi.ServiceSpec) (string, error) {
	t := s.TaskTemplate
	t.ForceUpdate = 0
	if t.Placement != nil {
		p := *t.Placement
		p.Constraints = nil
		t.Placement = &p
	}
	b, err := json.Marshal([]any{t, s.EndpointSpec})
	if err != nil {
		return "", fmt.Errorf("digest of the task template: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}

func versionLabel(t swarmapi.TaskSpec) string {
	if t.ContainerSpec == nil {
		return ""
	}
	return t.ContainerSpec.Labels[labelVersion]
}

// tried is the hash of the version that an update was last made to. A person's rollback leaves that version in PreviousSpec
// and Swarm's own does not; its tasks stay for a while; and what this process has done it knows.
func (m *swarmMemory) tried(s swarmapi.Service, tasks []swarmapi.Task) string {
	if !rolledBack(s.UpdateStatus) {
		if s.UpdateStatus == nil {
			return ""
		}
		return s.Spec.Labels[spec.LabelHash]
	}
	if s.PreviousSpec != nil {
		return s.PreviousSpec.Labels[spec.LabelHash]
	}
	mine := versionLabel(s.Spec.TaskTemplate)
	var last swarmapi.Task
	for _, t := range tasks {
		// The engine's dates give an order here, not a duration.
		if v := versionLabel(t.Spec); v != "" && v != mine && !t.CreatedAt.Before(last.CreatedAt) {
			last = t
		}
	}
	if v := versionLabel(last.Spec); v != "" {
		return v
	}
	if made := m.made[s.ID]; made != s.Spec.Labels[spec.LabelHash] {
		return made
	}
	return ""
}

func rolledBack(u *swarmapi.UpdateStatus) bool {
	if u == nil {
		return false
	}
	switch u.State {
	case swarmapi.UpdateStateRollbackStarted, swarmapi.UpdateStateRollbackPaused, swarmapi.UpdateStateRollbackCompleted:
		return true
	case swarmapi.UpdateStateUpdating, swarmapi.UpdateStatePaused, swarmapi.UpdateStateCompleted:
	}
	return false
}
