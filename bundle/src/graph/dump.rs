//! A graph as text, one line a node: for tests and for people.

use std::fmt;

use super::{
    Graph,
    model::{Attribute, InitializerData},
};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name)?;
        for input in &self.inputs {
            writeln!(f, "  input  {input}")?;
        }
        for initializer in &self.initializers {
            match &initializer.data {
                InitializerData::Inline(bytes) => {
                    writeln!(f, "  const  {} ({} bytes)", initializer.value, bytes.len())?;
                }
                InitializerData::External(data) => writeln!(
                    f,
                    "  weight {} @ {} {}+{}",
                    initializer.value, data.location, data.offset, data.length
                )?,
            }
        }
        for node in &self.nodes {
            let outputs: Vec<String> = node.outputs.iter().map(ToString::to_string).collect();
            let inputs: Vec<&str> = node
                .inputs
                .iter()
                .map(|input| input.as_deref().unwrap_or("-"))
                .collect();
            write!(
                f,
                "  {} = {}({}",
                outputs.join(", "),
                node.op_type,
                inputs.join(", ")
            )?;
            for (name, value) in &node.attributes {
                match value {
                    Attribute::Int(i) => write!(f, "; {name}={i}")?,
                    Attribute::Float(x) => write!(f, "; {name}={x:e}")?,
                    Attribute::Ints(values) => write!(f, "; {name}={values:?}")?,
                    Attribute::Text(text) => write!(f, "; {name}={text}")?,
                }
            }
            writeln!(f, ")")?;
        }
        for output in &self.outputs {
            writeln!(f, "  output {output}")?;
        }
        Ok(())
    }
}
