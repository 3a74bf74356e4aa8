use serde_json::Value;

use super::{
    finding::{Category, ScanFinding, Severity},
    judge::judge,
    object::ScannedObject,
    owners::{KnownAgent, KnownOwner, KnownOwners, KnownTool},
};
use crate::{
    admission::{Placeholder, Policy, Reason, Wants, looks_like_credential},
    api::{
        AGENT_LABEL, EXCLUDED_NAMESPACES, GROUP, IMAGES_ANNOTATION, ImageDecision, PodSlot,
        TOOL_LABEL, ToolType, pod_slots,
    },
    images::{
        Component, ImageReference, MATRIX, Resolution, Source, normalized, own_image, resolve,
        rewrite_default,
    },
    workload::{self, PlanRefusal},
};

/// Finds the problems of a pod.
pub(super) fn findings(
    pod: &ScannedObject<'_>,
    known: &KnownOwners,
    policy: &Policy,
) -> Vec<ScanFinding> {
    let pod = Pod::new(*pod, known);
    let mut findings: Vec<_> = pod
        .slots
        .iter()
        .filter_map(|slot| pod.placeholder(slot))
        .collect();
    if pod.object.is_mirror_pod() {
        return findings;
    }
    let has_placeholder = !findings.is_empty();
    if pod.is_labelled() || has_placeholder {
        findings.extend(pod.refusals(known, policy, has_placeholder));
    }
    match &pod.record {
        Some(record) => {
            findings.extend(
                record
                    .iter()
                    .filter_map(|decision| pod.difference(decision)),
            );
            findings.extend(pod.outdated(record, policy));
        }
        // A placeholder says already that nothing was decided.
        None if has_placeholder => {}
        None => findings.extend(pod.unrecorded()),
    }
    findings
}

/// A pod, with its owners and its record.
struct Pod<'a> {
    object: ScannedObject<'a>,
    slots: Vec<PodSlot<'a>>,
    /// The decision of admission, if it left a readable record.
    record: Option<Vec<ImageDecision>>,
    agent: Option<&'a KnownOwner<KnownAgent>>,
    tool: Option<&'a KnownOwner<KnownTool>>,
}

impl<'a> Pod<'a> {
    fn new(object: ScannedObject<'a>, known: &'a KnownOwners) -> Self {
        Self {
            slots: pod_slots(object.value).collect(),
            record: object
                .annotation(IMAGES_ANNOTATION)
                .and_then(|text| serde_json::from_str(text).ok()),
            agent: known.agent(&object),
            tool: known.tool(&object),
            object,
        }
    }

    fn is_labelled(&self) -> bool {
        [AGENT_LABEL, TOOL_LABEL]
            .iter()
            .any(|label| self.object.label(label).is_some())
    }

    fn placeholder(&self, slot: &PodSlot<'_>) -> Option<ScanFinding> {
        let placeholder = Placeholder::parse(slot.image)?;
        let hint = if self.object.is_mirror_pod() {
            "it is a static pod, which admission cannot change: write an image into its manifest on the node"
                .to_owned()
        } else if EXCLUDED_NAMESPACES.contains(&self.object.namespace) {
            "admission excludes this namespace: write the image out".to_owned()
        } else {
            match placeholder {
                Placeholder::Agent
                    if self
                        .agent
                        .and_then(KnownOwner::found)
                        .is_none() =>
                {
                    format!(
                        "label the pod with {AGENT_LABEL} and the name of an Agent of its namespace, and create it again"
                    )
                }
                Placeholder::Tool
                    if self
                        .tool
                        .and_then(KnownOwner::found)
                        .is_none() =>
                {
                    format!(
                        "label the pod with {TOOL_LABEL} and the name of a Tool of its namespace, and create it again"
                    )
                }
                Placeholder::Unknown(_) => {
                    let known = MATRIX
                        .iter()
                        .filter_map(|row| row.placeholder);
                    let known = ["agent", "tool"]
                        .into_iter()
                        .chain(known)
                        .collect::<Vec<_>>()
                        .join(", ");
                    format!(
                        "it names no image: write {} and one of {known}",
                        Placeholder::image("")
                    )
                }
                Placeholder::Agent | Placeholder::Row(_) | Placeholder::Tool => self.replace(),
            }
        };
        Some(ScanFinding::new(
            &self.object,
            Category::Placeholder,
            Severity::Medium,
            slot.field(),
            format!(
                "{} was never replaced, so nothing can be pulled (hint: {hint})",
                shown(slot.image)
            ),
        ))
    }

    /// The refusals by admission, except for placeholders, which have their own findings.
    fn refusals(
        &self,
        known: &'a KnownOwners,
        policy: &Policy,
        has_placeholder: bool,
    ) -> Vec<ScanFinding> {
        let find = |wants: Wants<'_>| known.owners(self.object.namespace, wants);
        judge(&self.object, find, policy)
            .into_iter()
            .filter_map(|(severity, cause)| {
                let category = match cause.reason {
                    Reason::UnresolvedPlaceholder => return None,
                    // It exists, but cannot be read.
                    Reason::UnknownAgent if matches!(self.agent, Some(KnownOwner::Unreadable)) => {
                        return None;
                    }
                    Reason::UnknownTool if matches!(self.tool, Some(KnownOwner::Unreadable)) => {
                        return None;
                    }
                    // The garbage collector is about to delete it.
                    Reason::UnknownAgent if self.is_controlled_by("Agent", None) => return None,
                    Reason::UnknownTool if self.is_controlled_by("Tool", None) => return None,
                    // The placeholder has its own finding.
                    Reason::UnknownAgent | Reason::UnknownTool if has_placeholder => return None,
                    Reason::UnknownAgent | Reason::UnknownTool if self.record.is_none() => {
                        Category::EnteredUnjudged
                    }
                    _ => Category::Refused,
                };
                Some(ScanFinding::of_cause(
                    &self.object,
                    category,
                    severity,
                    cause,
                ))
            })
            .collect()
    }

    /// The finding if a container or a volume does not have the image that was decided for it.
    fn difference(&self, decision: &ImageDecision) -> Option<ScanFinding> {
        let wanted = normalized(&decision.image);
        let mut slots = self
            .slots
            .iter()
            .filter(|slot| slot.name == decision.container)
            .peekable();
        let first = slots.peek().copied();
        // A container and a volume may have the same name.
        if slots.any(|slot| normalized(slot.image) == wanted) {
            return None;
        }
        let finding = |field, message| {
            ScanFinding::new(
                &self.object,
                Category::Differs,
                Severity::High,
                field,
                message,
            )
        };
        let Some(slot) = first else {
            let message = format!(
                "there is no container or volume {}, for which {} was recorded \
                 (hint: look for another webhook that removes it)",
                shown(&decision.container),
                shown(&decision.image)
            );
            return Some(finding("spec.containers".to_owned(), message));
        };
        // A placeholder has its own finding.
        if Placeholder::parse(slot.image).is_some() {
            return None;
        }
        Some(finding(
            slot.field(),
            format!(
                "{} is set, but {} was recorded: another webhook or a later change has replaced it \
                 (hint: see who wrote it: `kubectl get pod -n {} {} -o yaml --show-managed-fields`)",
                shown(slot.image),
                shown(&decision.image),
                self.object.namespace,
                self.object.name
            ),
        ))
    }

    /// The finding if the current rules give other images.
    fn outdated(&self, record: &[ImageDecision], policy: &Policy) -> Option<ScanFinding> {
        let changes = match self.plan(policy) {
            Some(plan) => workload::changes(&plan.ok()?, record),
            None => record
                .iter()
                .filter_map(|decision| {
                    let wanted = self.today(decision, policy)?;
                    let is_current =
                        decision.component == wanted.component && decision.image == wanted.image;
                    (!is_current).then(|| workload::change(decision, &wanted))
                })
                .collect(),
        };
        if changes.is_empty() {
            return None;
        }
        Some(ScanFinding::new(
            &self.object,
            Category::Outdated,
            Severity::Low,
            annotation_field(),
            format!("{} (hint: {})", changes.join("; "), self.replace()),
        ))
    }

    /// The plan of the Agent or the Tool whose own pod this is; `None` for other pods.
    fn plan(&self, policy: &Policy) -> Option<Result<Vec<ImageDecision>, PlanRefusal>> {
        if let Some(agent) = self.own_agent() {
            let facts = &agent.facts;
            let image = facts.image.as_deref();
            return Some(workload::agent_images(
                facts.runtime,
                image,
                agent.records,
                policy,
            ));
        }
        let tool = self.own_tool()?;
        if tool.facts.type_ != ToolType::Custom {
            return Some(Ok(Vec::new()));
        }
        Some(workload::tool_images(tool.facts.image.as_deref(), policy))
    }

    /// The image by the current rules, on a pod that is not an Agent's or a Tool's own: that of the
    /// Agent or the Tool that its label names, if the recorded image was theirs, or else that of
    /// the same row.
    fn today(&self, decision: &ImageDecision, policy: &Policy) -> Option<ImageDecision> {
        let images = &policy.images;
        let resolution = match (decision.source, decision.component) {
            (Source::Resource, Component::Tool) => {
                let facts = &self.tool?.found()?.facts;
                let own = own_image(facts.image.as_deref()).ok()?;
                resolve(Component::Tool, own, images)
            }
            (Source::Resource, _) => {
                let facts = &self.agent?.found()?.facts;
                let own = own_image(facts.image.as_deref()).ok()?;
                resolve(facts.runtime.component(), own, images)
            }
            (_, component) => moved(decision, policy).or_else(|| resolve(component, None, images)),
        };
        Some(ImageDecision::new(&decision.container, resolution?))
    }

    /// The finding for a pod with an owner's label whose images nobody chose.
    fn unrecorded(&self) -> Option<ScanFinding> {
        let is_agent = self
            .agent
            .and_then(KnownOwner::found)
            .is_some();
        let is_tool = self
            .tool
            .and_then(KnownOwner::found)
            .is_some();
        let (label, kind) = match (is_agent, is_tool) {
            (true, _) => (AGENT_LABEL, "Agent"),
            (false, true) => (TOOL_LABEL, "Tool"),
            (false, false) => return None,
        };
        let severity = if self.own_agent().is_some() || self.own_tool().is_some() {
            Severity::Medium
        } else {
            Severity::Low
        };
        let name = self
            .object
            .label(label)
            .unwrap_or_default();
        let message = format!(
            "no decision is recorded, although the label {label} names the {kind} {name:?}: the pod was created while \
             the webhook was not in force, or names its images itself (hint: {})",
            self.replace()
        );
        let field = annotation_field();
        Some(ScanFinding::new(
            &self.object,
            Category::EnteredUnjudged,
            severity,
            field,
            message,
        ))
    }

    /// The Agent whose own pod this is.
    fn own_agent(&self) -> Option<&'a KnownAgent> {
        self.agent?
            .found()
            .filter(|agent| self.is_controlled_by("Agent", Some(&agent.uid)))
    }

    /// The Tool whose own pod this is.
    fn own_tool(&self) -> Option<&'a KnownTool> {
        self.tool?
            .found()
            .filter(|tool| self.is_controlled_by("Tool", Some(&tool.uid)))
    }

    /// True if its controller is an object of ours of this kind, and has this uid if one is given.
    fn is_controlled_by(&self, kind: &str, uid: Option<&str>) -> bool {
        let Some(controller) = self.object.controller() else {
            return false;
        };
        let text = |member| {
            controller
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let group = text("apiVersion")
            .split_once('/')
            .map(|(group, _)| group);
        group == Some(GROUP) && text("kind") == kind && uid.is_none_or(|uid| text("uid") == uid)
    }

    /// The hint for a pod that should be replaced.
    fn replace(&self) -> String {
        let ScannedObject {
            namespace, name, ..
        } = self.object;
        let command = format!("`kubectl delete pod -n {namespace} {name}`");
        if self
            .own_agent()
            .is_some_and(|agent| agent.paused)
        {
            format!("delete it; its Agent is paused, so no new one is created: {command}")
        } else if self.object.controller().is_some() {
            format!("delete it, and a new one is created: {command}")
        } else {
            "delete it and create it again, since it has no controller that would".to_owned()
        }
    }
}

/// The current place of a default image that was written out with its own tag and moved
/// (`agentkube.io/rewrite-defaults`), if the recorded image is such a one. The record does not tell
/// it from a placeholder that became a mirrored default.
fn moved(decision: &ImageDecision, policy: &Policy) -> Option<Resolution> {
    if decision.source != Source::Mirror {
        return None;
    }
    let reference = decision
        .image
        .parse::<ImageReference>()
        .ok()?;
    let default = decision
        .component
        .row()?
        .default_image()?;
    let written = reference
        .moved_to(&default.repository())
        .ok()?;
    rewrite_default(written.as_str(), &policy.images)
        .filter(|resolution| resolution.image == reference)
}

fn annotation_field() -> String {
    format!("metadata.annotations[{IMAGES_ANNOTATION}]")
}

/// An image for a message: whole, since digests may only differ at the end.
fn shown(image: &str) -> String {
    if looks_like_credential(image) {
        "(not shown: it looks like a credential)".to_owned()
    } else {
        format!("{image:?}")
    }
}
