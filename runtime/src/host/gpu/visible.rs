//! Which GPUs CUDA shows to this process, and under which numbers.

use super::types::{Gpu, GpusError, Installed};

/// The GPUs that CUDA gives numbers to, with these. Those of `installed` are in the order of their PCI addresses; `visible`
/// and `order` are the values of `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER`.
pub(super) fn select(
    installed: &Installed,
    visible: Option<&str>,
    order: Option<&str>,
) -> Result<Vec<Gpu>, GpusError> {
    let all = &installed.gpus;
    // Nothing is to be numbered when nothing is shown.
    if visible.is_some_and(|text| text.trim().is_empty() || text.trim() == "-1") {
        return Ok(Vec::new());
    }
    if let Some((index, problem)) = installed.failed.first() {
        return Err(GpusError::Failed {
            index: *index,
            problem: problem.clone(),
        });
    }
    let by_uuid = |text: &str| text.starts_with("GPU-");
    let numbered = visible.is_none_or(|text| !by_uuid(text.trim()));
    let alike = all.iter().all(|gpu| gpu.name == all[0].name);
    if numbered && !alike && order != Some("PCI_BUS_ID") {
        let names: Vec<&str> = all.iter().map(|gpu| gpu.name.as_str()).collect();
        return Err(GpusError::Order(names.join(", ")));
    }
    let chosen = match visible {
        None => all.clone(),
        Some(value) => listed(all, value)?,
    };
    // Which number a part has among whole GPUs, CUDA does not say; names are certain.
    let in_parts = |gpu: &&Gpu| installed.in_parts.contains(&gpu.device_id);
    let counted = if numbered { all } else { &chosen };
    if let Some(gpu) = counted.iter().find(in_parts) {
        return Err(GpusError::InParts {
            gpu: format!("GPU {} ({}, {})", gpu.device_id, gpu.name, gpu.uuid),
        });
    }
    Ok((0..)
        .zip(chosen)
        .map(|(device_id, gpu)| Gpu { device_id, ..gpu })
        .collect())
}

/// CUDA's own rule: a list of numbers or of beginnings of names; the first entry that names no GPU ends it.
fn listed(all: &[Gpu], value: &str) -> Result<Vec<Gpu>, GpusError> {
    let fail = |problem: String| GpusError::Visible {
        value: value.to_owned(),
        problem,
    };
    let mut chosen: Vec<Gpu> = Vec::new();
    for entry in value.split(',').map(str::trim) {
        if entry.starts_with("MIG-") {
            let problem = format!(
                "`{entry}` is a part of a GPU; name the devices yourself (--device cuda:0)"
            );
            return Err(fail(problem));
        }
        let found = match entry.parse::<usize>() {
            Ok(number) => all.get(number),
            Err(_) if entry.starts_with("GPU-") => {
                let mut named = all.iter().filter(|gpu| gpu.uuid.starts_with(entry));
                let first = named.next();
                if named.next().is_some() {
                    return Err(fail(format!(
                        "`{entry}` is the beginning of several names; give more of it"
                    )));
                }
                first
            }
            Err(_) => None,
        };
        let Some(gpu) = found else {
            break;
        };
        if chosen.iter().any(|other| other.uuid == gpu.uuid) {
            return Err(fail(format!(
                "`{entry}` names a GPU again; CUDA shows none then"
            )));
        }
        chosen.push(gpu.clone());
    }
    Ok(chosen)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn gpu(number: u16, name: &str) -> Gpu {
        Gpu {
            device_id: number,
            name: name.to_owned(),
            uuid: format!("GPU-{number}abc{number}"),
            memory: 80 << 30,
            free: 79 << 30,
            capability: (9, 0),
        }
    }

    fn machine(names: &[&str]) -> Installed {
        let gpus = (0..).zip(names).map(|(number, name)| gpu(number, name));
        Installed {
            gpus: gpus.collect(),
            ..Installed::default()
        }
    }

    /// The PCI positions of those shown, in the order of their numbers.
    fn shown(
        names: &[&str],
        visible: Option<&str>,
        order: Option<&str>,
    ) -> Result<Vec<char>, String> {
        let gpus = select(&machine(names), visible, order).map_err(|error| error.to_string())?;
        for (number, gpu) in (0..).zip(&gpus) {
            assert_eq!(gpu.device_id, number);
        }
        Ok(gpus
            .iter()
            .map(|gpu| gpu.uuid.chars().nth(4).unwrap())
            .collect())
    }

    #[test]
    fn the_environment_is_followed() {
        let four = ["a"; 4];
        for (visible, expected) in [
            (None, "0123"),
            (Some("2,0"), "20"),
            (Some(" 3 , 1 "), "31"),
            (Some("1,9,0"), "1"),
            (Some("-1"), ""),
            (Some(""), ""),
            (Some("0,none,2"), "0"),
            (Some("GPU-3abc,GPU-1"), "31"),
            (Some("GPU-9"), ""),
        ] {
            let found: String = shown(&four, visible, None).unwrap().into_iter().collect();
            assert_eq!(found, expected, "{visible:?}");
        }
    }

    #[test]
    fn what_cannot_be_followed() {
        let four = ["a"; 4];
        for (visible, problem) in [
            ("1,1", "names a GPU again"),
            ("MIG-1", "a part of a GPU"),
            ("GPU-", "the beginning of several names"),
        ] {
            let error = shown(&four, Some(visible), None).unwrap_err();
            assert!(
                error.starts_with(&format!("CUDA_VISIBLE_DEVICES={visible}: ")),
                "{error}"
            );
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn numbers_are_not_certain_beside_a_gpu_that_is_lost_or_divided() {
        let chosen = |installed: &Installed, visible| {
            let gpus = select(installed, visible, None).map_err(|error| error.to_string())?;
            Ok::<_, String>(gpus.into_iter().map(|gpu| gpu.uuid).collect::<Vec<_>>())
        };
        let mut lost = machine(&["a"; 3]);
        lost.gpus.remove(1);
        lost.failed = vec![(1, "GPU is lost".into())];
        for visible in [None, Some("0"), Some("GPU-0")] {
            let error = chosen(&lost, visible).unwrap_err();
            assert!(
                error.starts_with("GPU 1 does not answer (GPU is lost)"),
                "{error}"
            );
            assert!(error.contains("; see nvidia-smi"), "{error}");
        }
        assert!(chosen(&lost, Some("")).unwrap().is_empty());

        let mut divided = machine(&["a"; 3]);
        divided.in_parts = vec![1];
        for visible in [None, Some("0"), Some("1"), Some("GPU-0,GPU-1")] {
            let error = chosen(&divided, visible).unwrap_err();
            assert!(
                error.starts_with("GPU 1 (a, GPU-1abc1) is divided (MIG)"),
                "{error}"
            );
            assert!(
                error.contains("; name the devices yourself (--device"),
                "{error}"
            );
        }
        let whole = chosen(&divided, Some("GPU-2,GPU-0")).unwrap();
        assert_eq!(whole, ["GPU-2abc2", "GPU-0abc0"]);
        assert!(chosen(&divided, Some("-1")).unwrap().is_empty());
    }

    #[test]
    fn different_gpus_need_an_order() {
        let two = ["a", "b"];
        let error = shown(&two, None, None).unwrap_err();
        assert!(error.contains("the GPUs differ (a, b)"), "{error}");
        assert!(shown(&two, Some("1"), Some("FASTEST_FIRST")).is_err());
        assert_eq!(shown(&two, Some("1"), Some("PCI_BUS_ID")).unwrap(), ['1']);
        assert_eq!(shown(&two, Some("GPU-1"), None).unwrap(), ['1']);
        assert_eq!(shown(&two, Some(""), None).unwrap(), [] as [char; 0]);
        assert_eq!(shown(&[], None, None).unwrap(), [] as [char; 0]);
    }
}
