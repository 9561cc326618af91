package docker

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Compose's labels, by which `docker compose -p STACK ps` and `logs` find containers: ps filters on project, oneoff and the
// presence of config-hash, and rebuilds the project from service, container-number and depends_on.
const (
	composeProject   = "com.docker.compose.project"
	composeService   = "com.docker.compose.service"
	composeNumber    = "com.docker.compose.container-number"
	composeOneOff    = "com.docker.compose.oneoff"
	composeHash      = "com.docker.compose.config-hash"
	composeDependsOn = "com.docker.compose.depends_on"
	composeImage     = "com.docker.compose.image"
	composeNetwork   = "com.docker.compose.network"
	composeVolume    = "com.docker.compose.volume"
)

// labelInherited names the anonymous volumes a container took over from its predecessor, parted by commas. The engine takes
// them for named ones and would leave them behind when the last of the line is removed.
const labelInherited = "brambled.inherited"

// labelSwarmTask marks containers that belong to Swarm, whatever other labels they carry.
const labelSwarmTask = "com.docker.swarm.task.id"

func containerLabels(a plan.Create, imageID string, inherited []string) map[string]string {
	l := maps.Clone(a.Spec.Body.Labels)
	if l == nil {
		l = map[string]string{}
	}
	_, hash, _ := strings.Cut(a.Spec.Hash, ":")
	ours := map[string]string{
		spec.LabelCluster: a.Owner,
		spec.LabelStack:   a.Stack,
		spec.LabelService: a.Service,
		spec.LabelReplica: strconv.Itoa(a.Replica),
		spec.LabelHash:    a.Spec.Hash,
		spec.LabelRestart: restartLabel(a.Spec.Body),
		composeProject:    a.Stack,
		composeService:    a.Service,
		composeNumber:     strconv.Itoa(a.Replica),
		composeOneOff:     "False",
		composeHash:       hash,
		composeDependsOn:  dependsOn(a.DependsOn),
	}
	if imageID != "" {
		ours[composeImage] = imageID
	}
	if len(inherited) > 0 {
		ours[labelInherited] = strings.Join(inherited, ",")
	}
	maps.Copy(l, ours)
	return l
}

// dependsOn is the form Compose reads back: service:condition:restart.
func dependsOn(list []spec.Dependency) string {
	words := map[spec.Condition]string{
		spec.Started: "service_started", spec.Healthy: "service_healthy", spec.Completed: "service_completed_successfully",
	}
	out := make([]string, 0, len(list))
	for _, d := range list {
		out = append(out, fmt.Sprintf("%s:%s:%t", d.Service, words[d.Condition], d.Restart))
	}
	return strings.Join(out, ",")
}

func networkLabels(a plan.CreateNetwork) map[string]string {
	l := objectLabels(a.Network.Labels, a.Owner, a.Stack, a.Network.Hash)
	l[spec.LabelNetwork], l[composeNetwork] = a.Network.Name, a.Network.Key
	if a.Network.Driver == "overlay" {
		l[stackNamespace] = a.Stack // docker stack knows it as the stack's
	}
	return l
}

func volumeLabels(a plan.CreateVolume) map[string]string {
	l := objectLabels(a.Volume.Labels, a.Owner, a.Stack, a.Volume.Hash)
	l[spec.LabelVolume], l[composeVolume] = a.Volume.Name, a.Volume.Key
	return l
}

// objectLabels are what networks and volumes have in common. The user's come first: ours win.
func objectLabels(user map[string]string, owner, stack, hash string) map[string]string {
	l := map[string]string{}
	maps.Copy(l, user)
	l[spec.LabelCluster], l[spec.LabelStack], l[spec.LabelHash], l[composeProject] = owner, stack, hash, stack
	return l
}

// restartLabel is the restart policy at create: "unless-stopped", "on-failure:3".
func restartLabel(b spec.Body) string {
	name, most := policyOf(b)
	if most > 0 {
		return name + ":" + strconv.Itoa(most)
	}
	return name
}

func parseRestart(label string) (name string, most int) {
	name, n, _ := strings.Cut(label, ":")
	most, _ = strconv.Atoi(n) // absent or damaged: no limit, as the engine has it
	return name, most
}

// policyOf is the engine's restart policy for a body; an empty one is "no".
func policyOf(b spec.Body) (string, int) {
	if b.RestartPolicy == "" {
		return "no", 0
	}
	return b.RestartPolicy, b.RestartMax
}
