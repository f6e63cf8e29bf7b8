//! `worldpm-ort plan`.

mod args;
mod simulate;

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use worldpm_ort_bundle::{Bytes, Device};
use worldpm_ort_export::{
    Checkpoint, ExportOptions,
    plan::{Bill, Bound, Efficiency, Fleet, GPUS, Plan, PlanOptions, Prepared, Speed, plan},
    synth,
};

use super::{
    common::{
        model,
        outcome::Status,
        table::{Side, Table},
    },
    export::{budget, devices},
    recipes,
    synth::preset,
};
pub(crate) use args::PlanArgs;

pub(crate) fn run(args: &PlanArgs) -> Result<Status> {
    let mut output = io::stdout().lock();
    if args.list_gpus {
        list_gpus(&mut output)?;
        return Ok(Status::Done);
    }
    let options = options(args)?;
    let model = prepare(args, &options)?;
    if model.device() == Device::Cpu && !args.gpus.is_empty() {
        bail!("the model is for the CPU; give --device-memory, or plan for --device cuda");
    }
    let plan = plan(&model, &options)?;
    let simulation = args.simulation.run(&model, &plan)?;
    if args.json {
        let mut value = serde_json::to_value(&plan)?;
        if let Some(simulation) = &simulation {
            value["simulation"] = serde_json::to_value(simulation)?;
        }
        serde_json::to_writer_pretty(&mut output, &value)?;
        writeln!(output)?;
    } else {
        print(&mut output, &plan, args.price_per_hour)?;
        if let Some(simulation) = &simulation {
            simulate::print(&mut output, simulation)?;
        }
    }
    output.flush()?;
    Ok(Status::Done)
}

fn options(args: &PlanArgs) -> Result<PlanOptions> {
    let fleet = match devices(&args.device_memory) {
        Some(memory) => Fleet::Memory(memory),
        None => Fleet::of(&args.gpus),
    };
    if let (Fleet::Memory(_), Some(_)) = (&fleet, args.tokens) {
        bail!("--tokens needs the speed of the devices; name them with --gpus");
    }
    Ok(PlanOptions {
        budget: budget(args.max_batch_tokens),
        mean_length: args.mean_tokens.get(),
        efficiency: Efficiency {
            compute: args.efficiency,
            bandwidth: args.bandwidth_efficiency,
        },
        tokens: args.tokens,
        price_per_hour: args.price_per_hour,
        ..PlanOptions::new(fleet)
    })
}

fn prepare(args: &PlanArgs, options: &PlanOptions) -> Result<Prepared> {
    if let Some(directory) = &args.model {
        model::check(directory)?;
        return Ok(Prepared::bundle(directory, options)?);
    }
    let recipe = args.recipe.as_deref().map(recipes::find).transpose()?;
    let checkpoint = match (&args.checkpoint, args.shape, &recipe) {
        (Some(directory), ..) => Checkpoint::open(directory)?,
        (None, Some(shape), _) => synth::outline(&preset(shape).options())?,
        (None, None, Some(recipe)) => recipe.outline()?,
        (None, None, None) => bail!("there is nothing to plan"),
    };
    let export = ExportOptions {
        target: args.target,
        device: args.device,
        stages: args.stages,
        precision: args
            .precision
            .or(recipe.map(|recipe| recipe.suggested.precision)),
        budget: options.budget,
        ..ExportOptions::default()
    };
    Ok(Prepared::checkpoint(&checkpoint, &export, options)?)
}

fn print(output: &mut impl Write, plan: &Plan, price: Option<f64>) -> Result<()> {
    writeln!(
        output,
        "{}, {}: {} of weights in memory, {}",
        plan.architecture,
        plan.precision,
        Bytes(plan.weights),
        counted(plan.stages.len(), "stage"),
    )?;
    let mut devices = counted(plan.devices, "device");
    if plan.replicas > 1 {
        devices = format!("{devices}: {} pipelines side by side", plan.replicas);
    }
    if plan.devices_left > 0 {
        devices = format!("{devices}; {} left over", plan.devices_left);
    }
    writeln!(output, "{devices}\n")?;

    write!(output, "{}", stages(plan))?;
    if let Some(speed) = &plan.speed {
        print_speed(output, speed)?;
    }
    if let Some(bill) = &plan.bill {
        print_bill(output, bill, price)?;
    }
    writeln!(output, "\nassumptions:")?;
    for assumption in &plan.assumptions {
        writeln!(output, "- {assumption}")?;
    }
    Ok(())
}

fn stages(plan: &Plan) -> Table<9> {
    let mut table = Table::new([
        ("stage", Side::Right),
        ("layers", Side::Left),
        ("device", Side::Left),
        ("weights", Side::Right),
        ("activations", Side::Right),
        ("workspace", Side::Right),
        ("total", Side::Right),
        ("of", Side::Right),
        (
            if plan.speed.is_some() {
                "ms a pack"
            } else {
                ""
            },
            Side::Right,
        ),
    ]);
    for (index, stage) in plan.stages.iter().enumerate() {
        table.row([
            index.to_string(),
            layers(stage.layers),
            match stage.gpu {
                Some(gpu) => format!("{} {gpu}", stage.device),
                None => stage.device.to_string(),
            },
            Bytes(stage.memory.weights).to_string(),
            Bytes(stage.memory.activations).to_string(),
            Bytes(stage.memory.workspace).to_string(),
            Bytes(stage.total).to_string(),
            stage
                .capacity
                .map(|c| Bytes(c).to_string())
                .unwrap_or_default(),
            stage
                .time
                .map(|time| format!("{:.1}", time.seconds() * 1e3))
                .unwrap_or_default(),
        ]);
    }
    table
}

fn print_speed(output: &mut impl Write, speed: &Speed) -> Result<()> {
    let bound = match speed.bound {
        Bound::Compute => "arithmetic",
        Bound::Weights => "reading the weights",
    };
    writeln!(
        output,
        "\nestimate: {:.0} unique tokens a second; stage {} sets the pace with {:.1} ms a pack, bound by {bound}; \
         stages work {:.0}% of the time",
        speed.tokens_per_second,
        speed.slowest,
        speed.seconds_per_pack * 1e3,
        speed.balance * 100.0,
    )?;
    Ok(())
}

fn print_bill(output: &mut impl Write, bill: &Bill, price: Option<f64>) -> Result<()> {
    write!(
        output,
        "a data set of {:e} tokens: {:.1} hours, {:.1} GPU-hours",
        bill.tokens, bill.hours, bill.gpu_hours
    )?;
    if let (Some(total), Some(price)) = (bill.price, price) {
        write!(output, ", {total:.2} at {price} a GPU-hour")?;
    }
    writeln!(output)?;
    Ok(())
}

fn list_gpus(output: &mut impl Write) -> Result<()> {
    let mut table = Table::new([
        ("name", Side::Left),
        ("memory", Side::Right),
        ("GB/s", Side::Right),
        ("bf16, fp16 TFLOPS", Side::Right),
        ("int8 TOPS", Side::Right),
        ("source", Side::Left),
    ]);
    for gpu in GPUS {
        table.row([
            gpu.name.to_owned(),
            format!("{} GB", gpu.memory / 1_000_000_000),
            format!("{:.0}", gpu.bandwidth / 1e9),
            format!("{}", gpu.half_flops / 1e12),
            format!("{}", gpu.int8_ops / 1e12),
            gpu.source.to_owned(),
        ]);
    }
    write!(output, "{table}").context("cannot write the list")?;
    writeln!(
        output,
        "\nRates are dense: half of what data sheets give with sparsity."
    )?;
    for gpu in GPUS {
        if let Some(note) = gpu.note {
            writeln!(output, "{}: {note}.", gpu.name)?;
        }
    }
    Ok(())
}

/// `0 to 39`, or `7`.
pub(crate) fn layers((start, end): (usize, usize)) -> String {
    match end.saturating_sub(start) {
        1 => start.to_string(),
        _ => format!("{start} to {}", end.saturating_sub(1)),
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
