//! GPUs by name, with the memory that CUDA reports, which differs from the advertised size.

use serde::Serialize;

/// The property of a GPU's make that matters for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GpuMake {
    /// NVIDIA A100: vLLM's defaults treat it as a smaller card.
    A100,
    /// NVIDIA Blackwell: its kernels read latents of 8 bits without scales.
    Blackwell,
    /// Any other make.
    Other,
}

/// A GPU, as far as a plan needs it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Gpu {
    /// The size of the memory in bytes.
    pub bytes: u64,
    /// The GPU's name; `None` if only its memory is known.
    pub name: Option<&'static str>,
    /// The GPU's make.
    pub make: GpuMake,
}

/// Names without blanks and hyphens, the name to print, GiB as CUDA reports them at start-up (vLLM's "total" in
/// published logs; see docs/capacity.md), and the make.
const GPUS: [(&[&str], &str, f64, GpuMake); 30] = [
    (&["t4"], "T4", 14.56, GpuMake::Other),
    (&["v10016", "v10016gb", "v100sxm216gb"], "V100-16", 15.77, GpuMake::Other),
    (&["v100", "v10032", "v10032gb", "v100sxm232gb"], "V100-32", 31.74, GpuMake::Other),
    (&["l4"], "L4", 22.03, GpuMake::Other),
    (&["a10", "a10g"], "A10G", 22.06, GpuMake::Other),
    (&["3090", "rtx3090"], "RTX 3090", 23.58, GpuMake::Other),
    (&["4090", "rtx4090"], "RTX 4090", 23.53, GpuMake::Other),
    (&["5090", "rtx5090"], "RTX 5090", 31.36, GpuMake::Blackwell),
    (&["rtxpro4500", "pro4500"], "RTX PRO 4500", 31.38, GpuMake::Blackwell),
    (&["a10040", "a10040gb", "a100sxm440gb", "a100pcie40gb"], "A100-40", 39.39, GpuMake::A100),
    (&["a40"], "A40", 44.35, GpuMake::Other),
    (&["l40", "l40s"], "L40S", 44.39, GpuMake::Other),
    (&["a6000", "rtxa6000"], "RTX A6000", 47.53, GpuMake::Other),
    (&["6000ada", "rtx6000ada"], "RTX 6000 Ada", 47.38, GpuMake::Other),
    (&["h100", "h10080", "h10080gb", "h100sxm", "h100pcie", "h10080gbhbm3"], "H100", 79.19, GpuMake::Other),
    (&["h800"], "H800", 79.19, GpuMake::Other),
    (
        &["a100", "a10080", "a10080gb", "a100sxm", "a100sxm480gb", "a10080gbpcie"],
        "A100-80",
        79.25,
        GpuMake::A100,
    ),
    (&["a800"], "A800", 79.25, GpuMake::A100),
    (&["h100nvl"], "H100 NVL", 93.1, GpuMake::Other),
    (&["rtxpro6000", "pro6000"], "RTX PRO 6000", 94.97, GpuMake::Blackwell),
    (&["h20"], "H20", 95.1, GpuMake::Other),
    (&["gh200", "gh20096gb"], "GH200", 94.5, GpuMake::Other),
    (&["gb10", "dgxspark"], "GB10", 119.7, GpuMake::Blackwell),
    (&["h200"], "H200", 139.81, GpuMake::Other),
    (&["b200"], "B200", 178.36, GpuMake::Blackwell),
    (&["gb200"], "GB200", 184.31, GpuMake::Blackwell),
    (&["mi250x", "mi250"], "MI250X (one die)", 63.98, GpuMake::Other),
    (&["mi300x", "mi300"], "MI300X", 191.98, GpuMake::Other),
    (&["mi325x"], "MI325X", 255.98, GpuMake::Other),
    (&["mi355x", "mi350x"], "MI355X", 287.98, GpuMake::Other),
];

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

impl Gpu {
    /// Makes a GPU from its memory size alone. If CUDA reports exactly this size for a known card, it is that card.
    pub(crate) fn from_memory(bytes: u64) -> Self {
        let is = |gib: f64| (bytes as f64 / GIB - gib).abs() < 0.01;
        let card = GPUS.iter().find(|(_, _, gib, _)| is(*gib));
        let (name, make) = card.map_or((None, GpuMake::Other), |(_, name, _, make)| (Some(*name), *make));
        Self { bytes, name, make }
    }

    /// Finds a GPU by its name. Blanks, hyphens, the maker's name and the case do not matter.
    ///
    /// # Errors
    ///
    /// Lists the known names.
    pub(crate) fn from_name(text: &str) -> Result<Self, String> {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        let short = ["nvidia", "amd", "instinct", "geforce", "tesla"]
            .iter()
            .fold(plain.as_str(), |name, maker| name.strip_prefix(maker).unwrap_or(name));
        let card = GPUS.iter().find(|(names, ..)| names.contains(&short));
        let (_, name, gib, make) = card.ok_or_else(|| {
            let known: Vec<&str> = GPUS.iter().map(|(_, name, ..)| *name).collect();
            format!("not a known GPU; the names are: {}", known.join(", "))
        })?;
        Ok(Self { bytes: (gib * GIB) as u64, name: Some(name), make: *make })
    }

    /// Whether vLLM's defaults treat the GPU as a large card: at least 70 GiB, and not an A100.
    pub(crate) fn is_large_memory(&self) -> bool {
        self.bytes as f64 >= 70.0 * GIB && self.make != GpuMake::A100
    }
}
