//! What must serve on a host, and whether it does: the same tests that a step waits for after a change.

use crate::plan::Desired;
use crate::quote::sh;
use crate::resource::{Ask, Observed, Program, Service, Spec};

/// Seconds a test may take.
const LIMIT: u32 = 10;

/// How one thing on a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The role that wants it.
    pub role: &'static str,
    /// The unit, or the group of programs.
    pub subject: String,
    /// Whether it serves.
    pub healthy: bool,
    /// How it is, in a few words of the host: untrusted.
    pub detail: String,
}

/// What to ask a host about what it should have.
pub fn questions(desired: &Desired) -> Ask {
    let mut ask = Ask::default();
    for resource in &desired.resources {
        match &resource.spec {
            Spec::Service(service) => {
                ask.units.insert(service.unit.clone());
                ask.test(&key(&service.unit), &limited(&service.health));
            }
            Spec::Program(program) => {
                ask.programs = true;
                ask.test(&key(&program.group), &limited(&program.health));
            }
            _ => {}
        }
    }
    ask
}

/// How everything is, in the order in which it converges.
pub fn findings(desired: &Desired, seen: &Observed) -> Vec<Finding> {
    let finding = |role, subject: &str, state: Result<String, String>| Finding {
        role,
        subject: subject.to_owned(),
        healthy: state.is_ok(),
        detail: state.unwrap_or_else(|why| why),
    };
    desired
        .resources
        .iter()
        .filter_map(|resource| match &resource.spec {
            Spec::Service(service) => Some(finding(resource.role, &service.unit, unit(service, seen))),
            Spec::Program(program) => Some(finding(resource.role, &program.group, programs(program, seen))),
            _ => None,
        })
        .collect()
}

fn key(subject: &str) -> String {
    format!("health {subject}")
}

fn limited(test: &str) -> String {
    format!("timeout {LIMIT} sh -c {}", sh(test))
}

fn unit(service: &Service, seen: &Observed) -> Result<String, String> {
    let Some(unit) = seen.units.get(&service.unit) else {
        return Err("is not there".into());
    };
    if unit.active != "active" {
        return Err(format!("is {}", unit.active));
    }
    answers(&service.unit, seen).map(|()| "active, answers".into())
}

fn programs(program: &Program, seen: &Observed) -> Result<String, String> {
    let Some(known) = &seen.programs else {
        return Err("supervisord does not answer".into());
    };
    let state = |process: &String| known.get(&format!("{}:{process}", program.group));
    let down: Vec<String> = program
        .processes
        .iter()
        .filter_map(|process| match state(process) {
            Some(now) if now.state == "RUNNING" => None,
            Some(now) => Some(format!("{process} is {}", now.state)),
            None => Some(format!("{process} is not there")),
        })
        .collect();
    if !down.is_empty() {
        return Err(down.join(", "));
    }
    answers(&program.group, seen).map(|()| format!("{} running, answers", program.processes.len()))
}

fn answers(subject: &str, seen: &Observed) -> Result<(), String> {
    match seen.tests.get(&key(subject)) {
        Some(test) if test.code == 0 => Ok(()),
        Some(test) if test.code == 124 => Err(format!("does not answer within {LIMIT} s")),
        Some(test) => {
            let said = test.output.lines().find(|line| !line.trim().is_empty());
            Err(said.map_or_else(
                || format!("does not answer (status {})", test.code),
                |line| line.trim().to_owned(),
            ))
        }
        None => Err("was not tested".into()),
    }
}
